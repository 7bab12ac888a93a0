"""Vectors to measure with: the exact answer, and an extension that keeps what is real."""

import numpy as np
import pytest

from bench.vectors import extended, nearest
from retrieval.ports import Floats


def unit(count: int, seed: int) -> Floats:
    vectors = np.random.default_rng(seed).standard_normal((count, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


@pytest.mark.parametrize("count", [7, 50, 173])
def test_real_vectors_come_first_and_the_others_are_near_one_of_them(count: int) -> None:
    real = unit(50, 1)
    found = extended(real, count, 3)
    assert found.shape == (count, 16)
    assert np.array_equal(found[:50], real[:count])
    assert np.linalg.norm(found, axis=1) == pytest.approx(1.0, abs=1e-5)
    for row in range(50, count):
        assert 0.6 < found[row] @ real[row % 50] < 0.999
    assert np.array_equal(found, extended(real, count, 3))


def test_the_nearest_are_those_of_comparing_everything_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.vectors.BLOCK_ROWS", 37)
    base, queries = unit(200, 1), unit(9, 2)
    wanted = np.argsort(-(queries @ base.T), axis=1, kind="stable")[:, :10]
    assert np.array_equal(nearest(base, queries, 10), wanted)
    assert nearest(base[:4], queries, 10).shape == (9, 4)
