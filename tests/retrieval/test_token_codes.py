"""Token codes: which bits, and thresholds that depend on the encoder alone."""

import threading
from collections.abc import Sequence

import numpy as np
import pytest

from retrieval import token_codes
from retrieval.encode_hash import HashEncoder
from retrieval.encode_onnx import OnnxEncoder
from retrieval.ports import TokenVectors
from retrieval.token_codes import content, fingerprint, pack, thresholds


def test_a_bit_says_whether_a_number_is_above_its_threshold() -> None:
    vectors = np.array([[0.5, -1, 0.25, 0, 0, 0, 0, 1, 3, -3], [0.0] * 10], dtype=np.float32)
    cuts = np.array([0.25, -2, 0.25, 0, -1, 0, 0, 0, 0, 0], dtype=np.float32)
    assert pack(vectors, cuts).tolist() == [[0b11001001, 0b10000000], [0b01001000, 0]]
    assert pack(vectors[:0], cuts).shape == (0, 2)
    assert pack(vectors, cuts).dtype == np.uint8


@pytest.mark.parametrize(
    ("tokens", "kept"),
    [
        (("where", "did", "ann", "'", "s", "dog", "run", "?"), [2, 4, 5, 6]),
        (("on", "##cology", "!"), [1]),
        (("dog", "park"), [0, 1]),
        (("who", "is", "it", "?"), [0, 1, 2, 3]),
        (("?", "!"), [0, 1]),
        (("東", "é", "3", "…"), [0, 1, 2]),
        ((), []),
    ],
)
def test_content_is_what_is_no_stop_word_and_no_punctuation_unless_that_is_nothing(
    tokens: tuple[str, ...], kept: list[int]
) -> None:
    vectors = np.eye(len(tokens), 8, dtype=np.float32)
    found = content(TokenVectors(tokens, vectors))
    assert found.tokens == tuple(tokens[number] for number in kept)
    assert np.array_equal(found.vectors, vectors[kept])


def test_thresholds_are_the_means_over_the_fixed_sentences() -> None:
    encoder = HashEncoder()
    tokens = np.concatenate([found.vectors for found in encoder.encode_tokens(token_codes._sentences())])
    assert np.array_equal(thresholds(encoder), tokens.mean(axis=0, dtype=np.float64).astype(np.float32))
    assert len(token_codes._sentences()) == 60


def test_about_half_of_the_bits_of_a_real_encoder_are_set() -> None:
    """Of other texts than the sentences; the sign alone of some dimension is the same in all of both."""
    encoder = OnnxEncoder()
    texts = ["The festival began with a parade of lanterns.", "Our goalkeeper saved two penalties.", "git rebase fails"]
    tokens = encoder.encode_tokens([*texts, *token_codes._sentences()])
    bits = [np.unpackbits(pack(found.vectors, thresholds(encoder)), axis=1) for found in tokens]
    signs = np.concatenate([found.vectors > 0 for found in tokens]).mean(axis=0)
    assert 0.4 < np.concatenate(bits[: len(texts)]).mean() < 0.6
    codes = np.concatenate(bits).mean(axis=0)
    assert (signs.min(), len(codes)) == (0.0, 384)
    assert 0.15 < codes.min() < codes.max() < 0.85


def test_thresholds_are_computed_once_however_many_ask() -> None:
    class Counting(HashEncoder):
        fingerprint = "counting"
        runs = 0

        def encode_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
            self.runs += 1
            return super().encode_tokens(texts)

    encoder = Counting()
    threads = [threading.Thread(target=thresholds, args=(encoder,)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert encoder.runs == 1
    assert np.array_equal(thresholds(encoder), thresholds(HashEncoder()))


def test_other_sentences_are_another_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = HashEncoder()
    before = fingerprint(encoder)
    assert before.startswith(encoder.fingerprint)
    assert fingerprint(encoder) == before
    monkeypatch.setattr(token_codes, "_sentences", lambda: ("Another one.",))
    assert fingerprint(encoder) != before
