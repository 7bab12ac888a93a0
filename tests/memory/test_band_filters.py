"""Bloom filters of bands: what was added is found, false answers stay within what is stated, filters grow."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.band_filters import BandFilters, FilterSettings, layer_size

SMALL = FilterSettings(bands=5, first_texts=64, false_positives=0.02)


def drawn(count: int, bands: int, seed: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(seed).integers(0, 2**64, (count, bands), dtype=np.uint64)


@given(st.integers(0, 400), st.lists(st.integers(1, 90), max_size=8))
def test_what_was_added_is_found_however_it_was_added(count: int, parts: list[int]) -> None:
    keys = drawn(count, SMALL.bands, 1)
    whole, in_parts = BandFilters(SMALL), BandFilters(SMALL)
    seen, start = [], 0
    for size in [*parts, count]:
        seen.append(in_parts.add(keys[start : start + size]))
        start = min(start + size, count)
    whole.add(keys)
    assert whole.seen(keys).all()
    assert [layer.tobytes() for layer in whole.layers] == [layer.tobytes() for layer in in_parts.layers]
    assert len(np.concatenate(seen)) == count


@pytest.mark.parametrize("texts", [64, 192, 960])
def test_false_answers_are_within_what_is_stated(texts: int) -> None:
    filters = BandFilters(SMALL)
    filters.add(drawn(texts, SMALL.bands, 2))
    asked = 20_000
    found = int(filters.seen(drawn(asked, SMALL.bands, 3)).sum())
    # Three standard deviations above the stated chance.
    assert found <= asked * 0.02 + 3 * (asked * 0.02) ** 0.5


def test_one_band_in_common_is_enough_and_within_a_batch_too() -> None:
    keys = drawn(4, SMALL.bands, 4)
    keys[2, 3] = keys[0, 3]
    filters = BandFilters(SMALL)
    assert filters.add(keys).tolist() == [False, False, True, False]
    again = drawn(1, SMALL.bands, 5)
    again[0, 4] = keys[1, 4]
    assert filters.add(again).tolist() == [True]


def test_layers_double_and_tighten() -> None:
    sizes = [layer_size(FilterSettings(), number) for number in range(4)]
    assert [size.texts for size in sizes] == [2048, 4096, 8192, 16384]
    assert [size.hashes for size in sizes] == [16, 17, 18, 19]
    filters = BandFilters(SMALL)
    for texts, layers in ((64, 1), (1, 2), (127, 2), (1, 3)):
        filters.add(drawn(texts, SMALL.bands, texts))
        assert len(filters.layers) == layers
    assert filters.texts == 193
    assert filters.bytes_memory == sum(layer_size(SMALL, number).bits // 8 * 5 for number in range(3))
