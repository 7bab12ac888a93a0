"""Metrics against figures worked out by hand."""

import numpy as np
import pytest

from bench.metrics import (
    auroc,
    calibration_error,
    hit_at,
    means,
    ndcg_at,
    paired_interval,
    percentiles,
    recall_at,
    reciprocal_rank,
    reliability,
    session_hit_at,
)

RANKING = ["a", "b", "c", "d"]


@pytest.mark.parametrize(("k", "share"), [(1, 0.0), (2, 1 / 3), (3, 1 / 3), (4, 2 / 3), (9, 2 / 3)])
def test_recall_is_the_share_of_the_evidence_in_the_top_k(k: int, share: float) -> None:
    assert recall_at(k, RANKING, {"b", "d", "missing"}) == share


def test_a_hit_is_any_evidence_in_the_top_k() -> None:
    assert [hit_at(k, RANKING, {"c", "x"}) for k in (2, 3)] == [0.0, 1.0]


def test_ndcg_is_one_for_a_perfect_ranking_and_discounts_late_evidence() -> None:
    assert ndcg_at(10, RANKING, {"a", "b"}) == pytest.approx(1.0)
    assert ndcg_at(10, RANKING, {"b"}) == pytest.approx(1 / np.log2(3))
    assert ndcg_at(10, RANKING, {"b", "d"}) == pytest.approx((1 / np.log2(3) + 1 / np.log2(5)) / (1 + 1 / np.log2(3)))
    assert ndcg_at(1, RANKING, {"b", "c"}) == 0.0


def test_the_ideal_of_ndcg_holds_no_more_than_k() -> None:
    assert ndcg_at(2, RANKING, {"a", "b", "c", "d"}) == pytest.approx(1.0)


def test_the_reciprocal_rank_is_that_of_the_first_evidence() -> None:
    assert (reciprocal_rank(RANKING, {"c", "b"}), reciprocal_rank(RANKING, {"x"})) == (0.5, 0.0)


def test_sessions_count_once_each() -> None:
    sessions = ["s1", "s1", "s2", "s1", "s3"]
    assert [session_hit_at(k, sessions, {"s3"}) for k in (2, 3)] == [0.0, 1.0]


def test_a_mean_is_over_the_questions_that_have_the_metric() -> None:
    assert means([{"a": 1.0, "b": 0.5}, {"a": 0.0}]) == {"a": 0.5, "b": 0.5, "n": 2}
    assert means([]) == {"n": 0}


def test_the_interval_is_of_paired_differences() -> None:
    noise = list(np.random.default_rng(0).random(400))
    found = paired_interval([value + 0.1 for value in noise], noise, seed=1)
    assert (found["mean"], found["low"], found["high"]) == pytest.approx((0.1, 0.1, 0.1))
    fair = paired_interval([0.0, 1.0] * 50, [1.0, 0.0] * 50, seed=1)
    assert fair["mean"] == 0.0
    assert -0.25 < fair["low"] < -0.1 < 0.1 < fair["high"] < 0.25
    assert fair == paired_interval([0.0, 1.0] * 50, [1.0, 0.0] * 50, seed=1)


def test_percentiles_of_a_hundred() -> None:
    assert percentiles(list(range(101))) == {"p50": 50.0, "p95": 95.0, "n": 101}
    assert percentiles([]) == {"n": 0}


def test_auroc_counts_pairs_and_ties_half() -> None:
    assert auroc([0.9, 0.4], [0.1, 0.4]) == pytest.approx((2 + 1.5) / 4)


def test_the_calibration_error_weighs_each_bin_by_its_size() -> None:
    probabilities = np.array([0.85, 0.85, 0.85, 0.15])
    outcomes = np.array([True, True, False, False])
    assert calibration_error(probabilities, outcomes) == pytest.approx(0.75 * abs(2 / 3 - 0.85) + 0.25 * 0.15)
    assert calibration_error(np.array([1.0, 0.0]), np.array([True, False])) == 0.0


def test_a_reliability_curve_has_a_point_for_each_bin_that_holds_any() -> None:
    probabilities = np.array([0.05, 0.85, 0.81, 1.0, 0.9])
    outcomes = np.array([False, True, False, True, True])
    curve = reliability(probabilities, outcomes)
    assert [point[2] for point in curve] == [1, 2, 2]
    assert [point[0] for point in curve] == pytest.approx([0.05, 0.83, 0.95])
    assert [point[1] for point in curve] == [0.0, 0.5, 1.0]
