"""The hashed encoder: the same numbers on every machine, and words that share letters are near."""

import numpy as np
import pytest

from retrieval.encode_hash import HashEncoder


def test_the_numbers_of_a_worked_example() -> None:
    """CRC-32 of `word dog`, `<do`, `dog` and `og>`, modulo 256, with weights 1 and .3, at length 1."""
    vector = HashEncoder().encode(["Dogs"])[0]
    places = np.flatnonzero(vector)
    assert places.tolist() == [125, 140, 196, 250]
    wanted = np.array([0.3, -0.3, -0.3, -1.0]) / np.sqrt(1 + 3 * 0.3**2)
    assert vector[places].tolist() == pytest.approx(wanted.tolist())


def test_one_word_more_or_less_and_a_misspelt_word_stay_near() -> None:
    first, longer, misspelt, other = HashEncoder().encode(["lisbon trip", "a lisbon trip", "lisbonn trip", "oil paint"])
    assert first @ longer > first @ misspelt > first @ other + 0.3


def test_texts_without_terms_share_one_fixed_vector() -> None:
    vectors = HashEncoder().encode(["", "...", "\n"])
    assert vectors[:, 0].tolist() == [1.0, 1.0, 1.0]
    assert not vectors[:, 1:].any()


def test_tokens_are_the_analysed_terms() -> None:
    [found] = HashEncoder().encode_tokens(["Dogs running"])
    assert found.tokens == ("dog", "run")
