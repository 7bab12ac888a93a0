"""Tiny llama GGUF files, written with llama.cpp's own writer from weights in the layout of transformers.

The weights are random, quantized as real files are (several kinds in one file), and kept in both layouts, so that a
test can give the same numbers to a reference implementation. The tokenizer is a byte-level BPE trained on a few lines.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from platformdirs import user_data_dir

MODELS = Path(os.environ.get("RECALLD_MODELS_DIR") or user_data_dir("recalld-models", appauthor=False))
CORPUS = [
    "The quick brown fox jumps over the lazy dog. It's the 3rd of March 2026, and we've moved to Lisbon.",
    "def add(first, second):\n    return first + second\n\n\nprint(add(12, 345))",
    "naïve café, наша память, 日本語の記憶, 😀😀 and 👩‍👩‍👧",
] * 20

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Tiny:
    """What a tiny file is made of; `replace` it for a variant."""

    tokens: list[str]
    types: list[int]
    merges: list[str]
    vocabulary: int
    layers: int = 2
    width: int = 64
    feed_forward: int = 96
    heads: int = 4
    heads_kv: int = 2
    context: int = 96
    rope_base: float = 5000.0
    tied: bool = True
    eos: int = 2
    pre: str = "smollm"
    template: str | None = CHAT_TEMPLATE
    architecture: str = "llama"
    keys: dict[str, Any] = field(default_factory=dict)
    without: frozenset[str] = frozenset()
    extra: tuple[str, ...] = ()
    poison: str = ""

    def weights(self) -> dict[str, np.ndarray]:
        """Random weights under GGUF names, in the layout of transformers, before quantization."""
        rng = np.random.default_rng(7)
        size = self.width // self.heads
        shapes: dict[str, tuple[int, ...]] = {"token_embd": (self.vocabulary, self.width), "output_norm": (self.width,)}
        if not self.tied:
            shapes["output"] = (self.vocabulary, self.width)
        for index in range(self.layers):
            block = f"blk.{index}."
            shapes |= {
                block + "attn_norm": (self.width,),
                block + "ffn_norm": (self.width,),
                block + "attn_q": (self.heads * size, self.width),
                block + "attn_k": (self.heads_kv * size, self.width),
                block + "attn_v": (self.heads_kv * size, self.width),
                block + "attn_output": (self.width, self.heads * size),
                block + "ffn_gate": (self.feed_forward, self.width),
                block + "ffn_up": (self.feed_forward, self.width),
                block + "ffn_down": (self.width, self.feed_forward),
            }
        return {
            name: (
                rng.normal(1, 0.2, shape) if len(shape) == 1 else rng.normal(0, 2.0 / self.width**0.5, shape)
            ).astype(np.float32)
            for name, shape in shapes.items()
        }


def quantization(name: str) -> Any:
    from gguf import GGMLQuantizationType as Kind

    if "norm" in name:
        return Kind.F32
    if name == "token_embd":
        return Kind.Q8_0
    return Kind.F16 if name.endswith(("attn_v", "output")) else Kind.Q4_1


def write(tiny: Tiny, path: Path) -> Path:
    """Write the file."""
    from gguf import GGUFWriter
    from gguf.quants import quantize

    writer = GGUFWriter(path, tiny.architecture)
    writer.add_block_count(tiny.layers)
    writer.add_context_length(tiny.context)
    writer.add_embedding_length(tiny.width)
    writer.add_feed_forward_length(tiny.feed_forward)
    writer.add_head_count(tiny.heads)
    writer.add_head_count_kv(tiny.heads_kv)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(tiny.rope_base)
    writer.add_rope_dimension_count(tiny.width // tiny.heads)
    writer.add_vocab_size(tiny.vocabulary)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(tiny.pre)
    writer.add_token_list(tiny.tokens)
    writer.add_token_types(tiny.types)
    writer.add_token_merges(tiny.merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(tiny.eos)
    if tiny.template is not None:
        writer.add_chat_template(tiny.template)
    for key, value in tiny.keys.items():
        {int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}[type(value)](key, value)
    arrays = {name: array for name, array in tiny.weights().items() if name not in tiny.without}
    arrays |= {name: np.ones((32, 32), dtype=np.float32) for name in tiny.extra}
    for name, array in arrays.items():
        if name.endswith(("attn_q", "attn_k")):
            # llama.cpp's permutation, conversion/llama.py: halves -> adjacent pairs, per head.
            heads = tiny.heads if name.endswith("q") else tiny.heads_kv
            rows, columns = array.shape
            array = array.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)
        if name == tiny.poison:
            array = array.copy()
            array[0] = np.nan
        kind = quantization(name)
        writer.add_tensor(f"{name}.weight", quantize(array, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def transformers_model(tiny: Tiny) -> Any:
    """LlamaForCausalLM of transformers with the same numbers, in float32."""
    import torch
    import transformers
    from gguf.quants import dequantize, quantize

    names = {
        "attn_norm": "input_layernorm",
        "ffn_norm": "post_attention_layernorm",
        "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj",
        "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
    }
    state = {}
    for name, array in tiny.weights().items():
        kind = quantization(name)
        numbers = torch.from_numpy(np.array(dequantize(quantize(array, kind), kind), dtype=np.float32))
        if name.startswith("blk."):
            _, index, part = name.split(".")
            state[f"model.layers.{index}.{names[part]}.weight"] = numbers
        else:
            top = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}[name]
            state[f"{top}.weight"] = numbers
    if tiny.tied:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    config = transformers.LlamaConfig(
        vocab_size=tiny.vocabulary,
        hidden_size=tiny.width,
        intermediate_size=tiny.feed_forward,
        num_hidden_layers=tiny.layers,
        num_attention_heads=tiny.heads,
        num_key_value_heads=tiny.heads_kv,
        max_position_embeddings=tiny.context,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": tiny.rope_base},
        tie_word_embeddings=tiny.tied,
        attn_implementation="eager",
    )
    model = transformers.LlamaForCausalLM(config)
    model.load_state_dict(state, strict=True)
    return model.eval()


@pytest.fixture(scope="session")
def tiny() -> Tiny:
    """The parts of the usual tiny file."""
    pytest.importorskip("gguf", reason="the llm extra (gguf) is not installed")
    from tokenizers import Tokenizer
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
    from tokenizers.trainers import BpeTrainer

    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])
    control = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = BpeTrainer(
        vocab_size=400, special_tokens=control, initial_alphabet=ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    merges = [rule if isinstance(rule, str) else " ".join(rule) for rule in model["merges"]]
    # A merge of digits, which only a pre-tokenizer that does not part them can reach.
    tokens.append("12")
    merges.append("1 2")
    types = [3 if token in control else 1 for token in tokens]
    return Tiny(tokens=tokens, types=types, merges=merges, vocabulary=len(tokens))


@pytest.fixture(scope="session")
def tiny_path(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The usual tiny file."""
    return write(tiny, tmp_path_factory.mktemp("llm") / "tiny.gguf")


@pytest.fixture
def variant(tiny: Tiny, tmp_path: Path) -> Callable[..., Path]:
    """Writes the tiny file with some parts replaced."""

    def make(**changes: Any) -> Path:
        return write(replace(tiny, **changes), tmp_path / "variant.gguf")

    return make


@pytest.fixture(scope="session")
def reference_of() -> Callable[[Tiny], Any]:
    """Makes the model of transformers with a tiny file's numbers."""
    pytest.importorskip("transformers", reason="transformers, the reference, is not installed")
    return transformers_model


@pytest.fixture(scope="session")
def real_path() -> Path:
    """SmolLM2-135M-Instruct in the models folder."""
    found = sorted(MODELS.rglob("SmolLM2-135M-Instruct*.gguf"))
    if not found:
        pytest.skip(f"no SmolLM2-135M-Instruct*.gguf in {MODELS}; `recalld models pull smollm2` brings it")
    return found[0]
