"""The forward pass against LlamaForCausalLM of transformers, by value, on the same dequantized numbers.

Bounds are on the largest difference of any logit in float32: 1e-4 on the tiny models, 1e-3 on SmolLM2-135M (whose
logits reach about 30), for a prompt at once, in pieces, and token by token with the cache.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gguf", reason="the llm extra (gguf) is not installed")
pytest.importorskip("torch", reason="the llm extra (torch) is not installed")

import torch

from recalld.llm.gguf_file import GGUFFile
from recalld.llm.model import KVCache, LlamaModel, ModelConfig, Weights, attention, halves_from_pairs

TINY_BOUND, REAL_BOUND = 1e-4, 1e-3


def load(path: Path, dtype: Any = torch.float32) -> LlamaModel:
    file = GGUFFile.open(path)
    config = ModelConfig.read(file)
    return LlamaModel(config, Weights.read(file, config, dtype))


def read(model: LlamaModel, ids: Any, pieces: list[int]) -> Any:
    """Logits `[B, T, V]` of a prompt read in pieces of these sizes with a cache that begins with two rows."""
    cache = KVCache(model.config, model.dtype, batch=ids.shape[0], capacity=2)
    found = []
    with torch.inference_mode():
        for piece in pieces:
            start = cache.length
            positions = torch.arange(start, start + piece).expand(ids.shape[0], -1)
            found.append(model.logits(model.forward(ids[:, start : start + piece], positions, cache)))
    assert cache.length == ids.shape[1]
    return torch.cat(found, dim=1)


def at_once(model: LlamaModel, ids: Any) -> Any:
    """Logits `[B, T, V]` without a cache."""
    with torch.inference_mode():
        return model.logits(model.forward(ids, torch.arange(ids.shape[1]).expand(ids.shape[0], -1)))


@pytest.mark.parametrize(
    "changes",
    [{}, {"tied": False}, {"heads": 8, "heads_kv": 1}, {"heads_kv": 4}, {"rope_base": 10000.0, "layers": 3}],
    ids=["grouped", "untied", "one kv head", "all kv heads", "other rope"],
)
def test_logits_are_those_of_transformers(
    tiny: Any, variant: Callable[..., Path], reference_of: Any, changes: dict[str, Any]
) -> None:
    model, reference = load(variant(**changes)), reference_of(replace(tiny, **changes))
    ids = torch.randint(0, tiny.vocabulary, (2, 37), generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        wanted = reference(ids).logits
    assert wanted.std() > 0.5
    for pieces in ([37], [1] * 37, [20, 1, 1, 15], [3, 34]):
        assert (read(model, ids, pieces) - wanted).abs().max() < TINY_BOUND, pieces
    assert (at_once(model, ids) - wanted).abs().max() < TINY_BOUND


def test_bfloat16_is_near_float32(tiny_path: Path) -> None:
    ids = torch.randint(0, 400, (1, 48), generator=torch.Generator().manual_seed(4))
    wanted = at_once(load(tiny_path), ids).log_softmax(-1)
    model = load(tiny_path, torch.bfloat16)
    assert model.weights.layers[0].qkv.dtype == torch.bfloat16
    for pieces in ([48], [40, *[1] * 8]):
        found = read(model, ids, pieces).log_softmax(-1)
        divergence = (wanted.exp() * (wanted - found)).sum(-1)
        assert 0 < divergence.mean() < 0.01


def test_positions_rotate_and_rows_order(tiny_path: Path) -> None:
    model = load(tiny_path)
    ids = torch.randint(0, 400, (1, 12), generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        plain = model.forward(ids, torch.arange(12)[None])
        # Rotary attention sees distances only, so moving every position changes nothing but rounding.
        moved = model.forward(ids, torch.arange(12)[None] + 50)
        stretched = model.forward(ids, torch.arange(12)[None] * 3)
    assert (plain - moved).abs().max() < 1e-4
    assert (plain - stretched).abs().max() > 0.05


def test_a_token_does_not_see_what_follows(tiny_path: Path) -> None:
    model = load(tiny_path)
    ids = torch.randint(0, 400, (1, 20), generator=torch.Generator().manual_seed(6))
    other = ids.clone()
    other[0, 13:] = (other[0, 13:] + 1) % 400
    first, second = at_once(model, ids), at_once(model, other)
    assert torch.allclose(first[:, :13], second[:, :13], atol=1e-5)
    assert (first[:, 13] - second[:, 13]).abs().max() > 0.05


def test_a_truncated_cache_goes_on_as_if_the_rest_had_never_been(tiny_path: Path) -> None:
    model = load(tiny_path)
    ids = torch.randint(0, 400, (1, 24), generator=torch.Generator().manual_seed(8))
    wanted = at_once(model, ids)
    cache = KVCache(model.config, model.dtype, capacity=4)
    with torch.inference_mode():
        model.forward(torch.cat([ids[:, :10], ids[:, :8]], dim=1), torch.arange(18)[None], cache)
        cache.truncate(10)
        found = model.logits(model.forward(ids[:, 10:], torch.arange(10, 24)[None], cache))
    assert cache.length == 24
    assert (found - wanted[:, 10:]).abs().max() < TINY_BOUND


def test_a_growing_cache_keeps_its_rows_and_ignores_what_free_rows_hold() -> None:
    config = ModelConfig(2, 8, 8, 2, 1, 4, 10, 64, 1e4, 1e-5)
    cache = KVCache(config, torch.float32, capacity=2)
    cache.keys.fill_(float("nan"))
    cache.values.fill_(float("nan"))
    rows = torch.randn(2, 1, 1, 5, 4)
    for row in range(5):
        cache.reserve(row + 1)
        for layer in range(2):
            keys, values = cache.store(layer, rows[layer, :, :, row : row + 1], -rows[layer, :, :, row : row + 1])
            assert torch.equal(keys, rows[layer, :, :, : row + 1])
            assert torch.equal(values, -rows[layer, :, :, : row + 1])
        cache.length += 1
    assert cache.capacity == 8


@pytest.mark.parametrize(("new", "rows"), [(1, 1), (1, 7), (5, 5), (3, 11)])
def test_attention_is_its_definition(new: int, rows: int) -> None:
    generator = torch.Generator().manual_seed(new)
    query = torch.randn(2, 6, new, 8, generator=generator)
    key, value = (torch.randn(2, 3, rows, 8, generator=generator) for _ in range(2))
    wanted = torch.empty_like(query)
    for batch in range(2):
        for head in range(6):
            for row in range(new):
                seen = rows - new + row + 1
                scores = key[batch, head // 2, :seen] @ query[batch, head, row] / 8**0.5
                wanted[batch, head, row] = scores.softmax(0) @ value[batch, head // 2, :seen]
    assert torch.allclose(attention(query, key, value), wanted, atol=1e-6)


def test_pairs_become_halves_head_by_head() -> None:
    # Two heads of size 4; the rows are named by (head, pair, member).
    rows = torch.tensor([[0.0], [1.0], [10.0], [11.0], [100.0], [101.0], [110.0], [111.0]])
    assert halves_from_pairs(rows, 4).flatten().tolist() == [0.0, 10.0, 1.0, 11.0, 100.0, 110.0, 101.0, 111.0]


@pytest.mark.slow
def test_the_real_model_has_the_logits_of_transformers(real_path: Path, reference_of: Any) -> None:
    import transformers

    model = load(real_path)
    config, weights = model.config, model.weights
    reference = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=config.vocabulary,
            hidden_size=config.width,
            intermediate_size=config.feed_forward,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.heads_kv,
            rms_norm_eps=config.norm_epsilon,
            rope_parameters={"rope_type": "default", "rope_theta": config.rope_base},
            tie_word_embeddings=weights.output is weights.embedding,
        )
    ).eval()
    state = {
        "model.embed_tokens.weight": weights.embedding,
        "model.norm.weight": weights.norm,
        "lm_head.weight": weights.output,
    }
    kv_rows = config.heads_kv * config.head_size
    for index, layer in enumerate(weights.layers):
        query, key, value = layer.qkv.split([config.heads * config.head_size, kv_rows, kv_rows])
        gate, up = layer.gate_up.chunk(2)
        parts = {
            "input_layernorm": layer.attention_norm,
            "post_attention_layernorm": layer.feed_forward_norm,
            "self_attn.q_proj": query,
            "self_attn.k_proj": key,
            "self_attn.v_proj": value,
            "self_attn.o_proj": layer.attention_output,
            "mlp.gate_proj": gate,
            "mlp.up_proj": up,
            "mlp.down_proj": layer.down,
        }
        state |= {f"model.layers.{index}.{name}.weight": tensor for name, tensor in parts.items()}
    reference.load_state_dict(state, strict=True)
    ids = torch.randint(17, config.vocabulary, (1, 96), generator=torch.Generator().manual_seed(9))
    with torch.inference_mode():
        wanted = reference(ids).logits
    for pieces in ([96], [64, *[1] * 32]):
        assert (read(model, ids, pieces) - wanted).abs().max() < REAL_BOUND, pieces
