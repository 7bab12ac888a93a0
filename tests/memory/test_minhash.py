"""MinHash and its bands: estimates, keys that every version agrees on, and no text left out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.minhash import Bands, band_keys, jaccard, salted, shingles, signatures, text_keys

BANDS = Bands()
EXPECTED = ["0xc584582c18d2502f", "0x24900eabc10c6ffb"]
EXPECTED_TEXT = "0x8a5892f90267f720"
TERMS = st.lists(st.sampled_from([f"t{number}" for number in range(40)]), min_size=1, max_size=30)


def words(start: int, stop: int) -> list[str]:
    return [f"w{number}" for number in range(start, stop)]


@given(st.lists(TERMS, min_size=1, max_size=8))
def test_a_text_has_the_same_keys_in_any_batch(texts: list[list[str]]) -> None:
    together = band_keys(signatures(texts, BANDS.permutations), BANDS)
    alone = [band_keys(signatures([text], BANDS.permutations), BANDS)[0] for text in texts]
    assert np.array_equal(together, np.stack(alone))


@given(TERMS)
def test_only_the_set_of_shingles_counts(text: list[str]) -> None:
    once, again = 2 * text, 3 * text
    assert shingles(again) == shingles(once)
    one, other = (signatures([each], 16)[0] for each in (once, again))
    assert np.array_equal(one, other)


@pytest.mark.parametrize("kept", [100, 300, 600, 900])
def test_equal_minima_estimate_the_similarity(kept: int) -> None:
    one, other = words(0, 1000), [*words(0, kept), *words(5000, 6000 - kept)]
    signed = signatures([one, other], 2000)
    estimate = float((signed[0] == signed[1]).mean())
    assert estimate == pytest.approx(jaccard(shingles(one), shingles(other)), abs=0.04)


def test_keys_are_the_same_in_every_version() -> None:
    keys = band_keys(signatures([["the", "cat", "sat"]], BANDS.permutations), BANDS)
    assert [hex(key) for key in keys[0, :2].tolist()] == EXPECTED
    assert hex(int(text_keys(["the", "cat"], BANDS)[0])) == EXPECTED_TEXT


def test_a_very_long_text_is_signed_in_bounded_parts() -> None:
    signed = signatures([["a"], words(0, 10_000), ["b", "c"]], BANDS.permutations)
    assert signed.shape == (3, BANDS.permutations)
    assert np.array_equal(signed[2], signatures([["b", "c"]], BANDS.permutations)[0])


def test_a_salt_and_an_order_tell_keys_apart() -> None:
    keys = text_keys(["a", "b"], BANDS)
    assert not (keys == text_keys(["b", "a"], BANDS)).any()
    assert not (salted(keys, "x") == salted(keys, "y")).any()
    assert (salted(keys, "x") == salted(keys, "x")).all()
