"""Every `Encoder` keeps the port's promises. One that needs a model on disk says so and is skipped without."""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from platformdirs import user_data_dir

from retrieval.encode_hash import HashEncoder
from retrieval.encode_onnx import OnnxEncoder
from retrieval.ports import Encoder

# Read before any test: tests run without the caller's settings.
MODELS = Path(os.environ.get("RECALLD_MODELS_DIR") or user_data_dir("recalld-models", appauthor=False))

TEXTS = [
    "I moved to Lisbon in March, after two years in Porto.",
    "",
    "ok",
    "Caroline: I went to the support group yesterday and it was so powerful! " * 3,
    "東京タワーへ行きました。",
    "👍🏽 ❤️",
    "dog",
    "When did she move?",
    "long " * 3000,
    "\n\t ",
]


def sentence_transformers_encoder() -> Encoder:
    folder = MODELS / "minilm-st"
    if not folder.is_dir():
        pytest.skip(f"no model in {folder}; `recalld models pull minilm-st` brings it")
    pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed (extra `st`)")
    from retrieval.encode_st import SentenceTransformersEncoder

    return SentenceTransformersEncoder(str(folder))


IMPLEMENTATIONS: dict[str, Callable[[], Encoder]] = {
    "hash": HashEncoder,
    "onnx": OnnxEncoder,
    "sentence-transformers": sentence_transformers_encoder,
}


@cache
def made(name: str) -> Encoder:
    return IMPLEMENTATIONS[name]()


@pytest.fixture(params=IMPLEMENTATIONS)
def encoder(request: pytest.FixtureRequest) -> Encoder:
    return made(request.param)


def test_vectors_are_float32_of_unit_length(encoder: Encoder) -> None:
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), encoder.dimensions)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=1e-5)


def test_no_texts_give_no_vectors(encoder: Encoder) -> None:
    assert encoder.encode([]).shape == (0, encoder.dimensions)
    assert encoder.encode([]).dtype == np.float32
    assert encoder.encode_tokens([]) == []


def test_a_text_has_the_same_vector_alone_and_in_any_batch(encoder: Encoder) -> None:
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    rng = np.random.default_rng(5)
    for size in (2, 5, len(TEXTS)):
        chosen = rng.permutation(len(TEXTS))[:size]
        together = encoder.encode([TEXTS[number] for number in chosen])
        cosines = (together * alone[chosen]).sum(axis=1)
        assert cosines.min() >= 0.999


def test_what_is_given_out_can_be_changed_without_changing_what_comes_next(encoder: Encoder) -> None:
    first = encoder.encode(["a dog in the park"])
    kept = first.copy()
    first[:] = 0
    assert np.array_equal(encoder.encode(["a dog in the park"]), kept)


def test_the_text_on_the_subject_is_nearest(encoder: Encoder) -> None:
    texts = ["My dog sleeps on the sofa.", "The train to Lisbon leaves at noon.", "She paints landscapes in oil."]
    queries = ["where does the dog sleep", "when does the train leave", "who paints landscapes"]
    cosines = encoder.encode(queries) @ encoder.encode(texts).T
    assert cosines.argmax(axis=1).tolist() == [0, 1, 2]


def test_token_vectors_are_of_unit_length_and_one_a_token(encoder: Encoder) -> None:
    for text, found in zip(TEXTS, encoder.encode_tokens(TEXTS), strict=True):
        assert found.vectors.shape == (len(found.tokens), encoder.dimensions)
        assert found.vectors.dtype == np.float32
        assert np.linalg.norm(found.vectors, axis=1) == pytest.approx(np.ones(len(found.tokens)), abs=1e-5)
        assert len(found.tokens) <= encoder.count_tokens(text)
        assert not {"[CLS]", "[SEP]", "[PAD]"} & set(found.tokens)


@pytest.mark.parametrize("chosen", [TEXTS, TEXTS[:1], TEXTS[1:2], []], ids=["all", "one", "empty", "none"])
def test_both_give_what_each_gives(encoder: Encoder, chosen: list[str]) -> None:
    pooled, tokens = encoder.encode_both(chosen)
    assert pooled.dtype == np.float32
    assert pooled == pytest.approx(encoder.encode(chosen), abs=1e-5)
    wanted = encoder.encode_tokens(chosen)
    assert [one.tokens for one in tokens] == [one.tokens for one in wanted]
    for one, other in zip(tokens, wanted, strict=True):
        assert one.vectors == pytest.approx(other.vectors, abs=1e-5)


def test_the_same_word_is_nearest_among_token_vectors(encoder: Encoder) -> None:
    query, text = encoder.encode_tokens(["dog", "my dog sleeps"])
    nearest = int((query.vectors @ text.vectors.T).argmax())
    assert text.tokens[nearest] == query.tokens[0] == "dog"


def test_tokens_are_counted_without_specials_and_without_truncation(encoder: Encoder) -> None:
    assert encoder.count_tokens("") == 0
    assert encoder.count_tokens("dog") == 1
    assert encoder.count_tokens("dog " * 3000) == 3000


def test_names_and_fingerprints_are_those_of_the_model(encoder: Encoder) -> None:
    fingerprints = {made(name).fingerprint for name in ("hash", "onnx")}
    assert len(fingerprints) == 2
    assert encoder.name
    assert 0 < len(encoder.fingerprint) <= 64
