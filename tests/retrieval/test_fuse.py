"""Fusion by value."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.fuse import best_of_group, reciprocal_rank_fusion, weighted_sum, zscore


def floats(*values: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.array(values, dtype=np.float32)


def test_standard_scores_of_a_worked_example() -> None:
    assert zscore(floats(1, 3)).tolist() == [-1.0, 1.0]
    assert zscore(floats(2, 4, 4, 4, 5, 5, 7, 9)).tolist() == [-1.5, -0.5, -0.5, -0.5, 0.0, 0.0, 1.0, 2.0]


def test_an_unknown_score_is_the_mean_and_moves_no_other() -> None:
    assert zscore(floats(1, np.nan, 3)).tolist() == [-1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    "values",
    [(), (5,), (0.1, 0.1, 0.1), (np.nan, np.nan), (np.nan, 4), (0.5, 0.5 + 1e-7, 0.5), (0.0, 4e-9), (900, 900.0001)],
)
def test_scores_that_tell_nothing_apart_are_zero(values: tuple[float, ...]) -> None:
    assert zscore(floats(*values)).tolist() == [0.0] * len(values)


@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=50), st.integers(1, 20), st.integers(-50, 50))
def test_standard_scores_do_not_depend_on_scale_or_offset(values: list[int], scale: int, offset: int) -> None:
    first = zscore(floats(*values))
    assert zscore(floats(*(scale * value + offset for value in values))) == pytest.approx(first, abs=1e-5)
    assert abs(first.mean()) < 1e-5
    assert first.std() == pytest.approx(0.0 if len(set(values)) == 1 else 1.0, abs=1e-5)


def test_weighted_sum_of_the_values_as_they_are() -> None:
    signals = {"dense": floats(1, 3), "lexical": floats(8, 4), "unweighted": floats(5, -5)}
    assert weighted_sum(signals, {"dense": 1.0, "lexical": 0.25, "unknown": 9.0}).tolist() == [3.0, 4.0]
    assert weighted_sum(signals, {}).tolist() == [0.0, 0.0]
    assert weighted_sum(signals, {}).dtype == np.float32


def test_each_row_gets_the_best_of_its_group() -> None:
    assert best_of_group(floats(1, -3, 2, -5, 0), np.array([7, 2, 7, 2, -1])).tolist() == [2, -3, 2, -3, 0]
    assert best_of_group(floats(), np.zeros(0, dtype=np.int64)).tolist() == []


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(0, 3)), max_size=20))
def test_the_best_of_a_group_is_that_of_a_loop(rows: list[tuple[int, int]]) -> None:
    groups = np.array([group for _, group in rows], dtype=np.int64)
    wanted = [max(score for score, other in rows if other == group) for _, group in rows]
    assert best_of_group(floats(*(score for score, _ in rows)), groups).tolist() == wanted


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
