from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gguf", reason="the llm extra (gguf) is not installed")
pytest.importorskip("torch", reason="the llm extra (torch) is not installed")

import numpy as np

from recalld.core.errors import ConfigError, ModelMissing
from recalld.llm.engine import EngineSettings, LocalModel
from recalld.llm.gguf_file import GGUFFile

Variant = Callable[..., Path]


def load(path: Path) -> LocalModel:
    return LocalModel.load(path, EngineSettings())


def test_metadata_is_typed(tiny_path: Path) -> None:
    file = GGUFFile.open(tiny_path)
    assert file.value("llama.block_count", int) == 2
    assert file.value("llama.rope.freq_base", float) == 5000.0
    assert file.value("no.such.key", str, "default") == "default"
    assert file.values("tokenizer.ggml.tokens", str)[:3] == ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    with pytest.raises(ConfigError, match=r"lacks the metadata key no\.such\.key"):
        file.value("no.such.key", str)
    with pytest.raises(ConfigError, match=r"llama\.block_count that is not a str"):
        file.value("llama.block_count", str)
    with pytest.raises(ConfigError, match=r"tokenizer\.ggml\.tokens of int"):
        file.values("tokenizer.ggml.tokens", int)


@pytest.mark.parametrize(
    ("name", "bound"), [("blk.0.attn_norm", 0), ("blk.1.attn_v", 5e-4), ("token_embd", 5e-3), ("blk.0.ffn_down", 0.12)]
)
def test_a_tensor_is_what_was_written_up_to_its_quantization(
    tiny: Any, tiny_path: Path, name: str, bound: float
) -> None:
    written = tiny.weights()[name]
    read = GGUFFile.open(tiny_path).tensor(f"{name}.weight", written.shape)
    assert read.dtype == np.float32
    assert np.abs(read - written).max() <= bound
    assert read.flags.writeable


def test_what_was_not_asked_for_is_listed(tiny_path: Path) -> None:
    file = GGUFFile.open(tiny_path)
    before = file.unread()
    file.tensor("output_norm.weight", (64,))
    assert set(before) - set(file.unread()) == {"output_norm.weight"}


def test_a_missing_file_is_a_missing_model(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match=r"gone\.gguf"):
        load(tmp_path / "gone.gguf")


@pytest.mark.parametrize("content", [b"", b"GG", b"PK\x03\x04 a zip"])
def test_another_kind_of_file_is_named_as_such(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.gguf"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"other\.gguf is not a GGUF file"):
        load(path)


@pytest.mark.parametrize("share", [0.0005, 0.01, 0.05, 0.2, 0.5, 0.9, 0.99999])
def test_a_truncated_file_is_refused_wherever_it_ends(tiny_path: Path, tmp_path: Path, share: float) -> None:
    whole = tiny_path.read_bytes()
    path = tmp_path / "cut.gguf"
    path.write_bytes(whole[: max(5, int(len(whole) * share))])
    with pytest.raises(ConfigError, match=r"cut\.gguf is damaged"):
        load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"without": frozenset({"blk.1.ffn_up"})}, r"lacks the tensor blk\.1\.ffn_up\.weight"),
        ({"extra": ("blk.0.attn_q_bias",)}, r"tensors that are not supported, as blk\.0\.attn_q_bias"),
        ({"extra": ("rope_freqs",)}, "rope scaling"),
        ({"poison": "blk.0.attn_norm"}, r"blk\.0\.attn_norm\.weight holds NaN"),
        ({"architecture": "mamba"}, "unsupported architecture mamba"),
        ({"keys": {"llama.rope.scaling.type": "yarn"}}, "rope scaling"),
        ({"keys": {"llama.expert_count": 8}}, r"not supported: llama\.expert_count"),
        ({"keys": {"llama.attention.key_length": 32}}, "head sizes that are not supported"),
        ({"heads_kv": 3}, "4 heads, 3 kv heads"),
        ({"pre": "unheard-of"}, "unsupported tokenizer: gpt2 with unheard-of"),
        ({"template": None}, r"lacks the metadata key tokenizer\.chat_template"),
        ({"template": "{% for %}"}, "not a valid Jinja template"),
        ({"merges": ["q zzz"]}, "a merge rule names a token"),
        ({"types": [1, 2]}, "token table does not fit"),
        ({"eos": 4000}, "eos_token_id is not a token"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_damaged_or_unsupported_is_named(variant: Variant, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(variant(**changes))


def test_a_vocabulary_that_does_not_fit_the_tokenizer_is_refused(tiny: Any, variant: Variant) -> None:
    path = variant(tokens=[*tiny.tokens, "<|more|>"], types=[*tiny.types, 3])
    with pytest.raises(ConfigError, match=f"{tiny.vocabulary + 1} tokens, {tiny.vocabulary} expected"):
        load(path)


def test_a_wrong_shape_is_refused(tiny_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"output_norm\.weight has shape \[64\], expected \[32\]"):
        GGUFFile.open(tiny_path).tensor("output_norm.weight", (32,))


def test_a_quantization_without_a_decoder_is_named(tiny_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(data: object, kind: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr("recalld.llm.gguf_file.dequantize", refuse)
    with pytest.raises(ConfigError, match=r"unsupported quantization F32 \(output_norm\.weight\)"):
        GGUFFile.open(tiny_path).tensor("output_norm.weight", (64,))
