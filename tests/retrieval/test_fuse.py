"""Fusion by value."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.fuse import reciprocal_rank_fusion, weighted_sum, zscore


def floats(*values: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.array(values, dtype=np.float32)


def test_standard_scores_of_a_worked_example() -> None:
    assert zscore(floats(1, 3)).tolist() == [-1.0, 1.0]
    assert zscore(floats(2, 4, 4, 4, 5, 5, 7, 9)).tolist() == [-1.5, -0.5, -0.5, -0.5, 0.0, 0.0, 1.0, 2.0]


def test_an_unknown_score_is_the_mean_and_moves_no_other() -> None:
    assert zscore(floats(1, np.nan, 3)).tolist() == [-1.0, 0.0, 1.0]


@pytest.mark.parametrize("values", [(), (5,), (0.1, 0.1, 0.1), (np.nan, np.nan), (np.nan, 4)])
def test_scores_that_tell_nothing_apart_are_zero(values: tuple[float, ...]) -> None:
    assert zscore(floats(*values)).tolist() == [0.0] * len(values)


@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=50), st.integers(1, 20), st.integers(-50, 50))
def test_standard_scores_do_not_depend_on_scale_or_offset(values: list[int], scale: int, offset: int) -> None:
    first = zscore(floats(*values))
    assert zscore(floats(*(scale * value + offset for value in values))) == pytest.approx(first, abs=1e-5)
    assert abs(first.mean()) < 1e-5
    assert first.std() == pytest.approx(0.0 if len(set(values)) == 1 else 1.0, abs=1e-5)


def test_weighted_sum() -> None:
    signals = {"dense": floats(1, 3), "lexical": floats(9, 7)}
    assert weighted_sum(signals, {"dense": 1.0, "lexical": 0.25}).tolist() == [-0.75, 0.75]


def test_reciprocal_ranks_of_a_worked_example() -> None:
    rows, scores = reciprocal_rank_fusion([np.array([7, 3, 9]), np.array([3, 8])])
    assert rows.tolist() == [3, 7, 8, 9]
    assert scores.tolist() == pytest.approx([1 / 62 + 1 / 61, 1 / 61, 1 / 62, 1 / 63])


def test_reciprocal_ranks_with_weights_and_ties_by_row() -> None:
    rows, scores = reciprocal_rank_fusion([np.array([5, 1]), np.array([2, 1])], weights=[1.0, 1.0], constant=0.0)
    assert rows.tolist() == [1, 2, 5]
    assert scores.tolist() == [1.0, 1.0, 1.0]
    rows, _ = reciprocal_rank_fusion([np.array([5]), np.array([2])], weights=[2.0, 1.0])
    assert rows.tolist() == [5, 2]


def test_nothing_to_fuse() -> None:
    assert reciprocal_rank_fusion([])[0].tolist() == []
    assert reciprocal_rank_fusion([np.zeros(0, dtype=np.int64)])[0].tolist() == []
