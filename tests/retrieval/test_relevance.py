"""Relevance by value: a probability that rises with what speaks for a row, and the conflict of speakers."""

import math
from dataclasses import astuple, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.relevance import FEATURES, Features, RelevanceWeights, relevance, speaker_conflict

shares = st.floats(0, 1, width=32)


def floats(*values: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.array(values, dtype=np.float32)


def features(*values: float) -> Features:
    return Features(*(floats(value) for value in values))


def test_a_worked_example() -> None:
    weights = RelevanceWeights(late=2.0, cosine=3.0, lexical=4.0, conflict=-5.0, bias=-1.0)
    rows = Features(floats(0, 0.5), floats(0, 1), floats(0, 0.25), floats(0, 0.4))
    wanted = [1 / (1 + math.exp(1)), 1 / (1 + math.exp(1 - 1 - 3 - 1 + 2))]
    assert relevance(rows, weights).tolist() == pytest.approx(wanted)
    assert relevance(rows, weights).dtype == np.float32


def test_weights_are_in_the_order_of_the_features() -> None:
    assert (*FEATURES, "bias") == RelevanceWeights.__match_args__
    for name in FEATURES:
        one = features(*(float(name == other) for other in FEATURES))
        logit = getattr(RelevanceWeights(), name) + RelevanceWeights().bias
        assert relevance(one).tolist() == pytest.approx([1 / (1 + math.exp(-logit))])


@given(st.tuples(shares, shares, shares, shares), st.sampled_from(FEATURES), st.floats(0.0625, 1, width=32))
def test_relevance_is_a_probability_that_goes_where_each_weight_says(
    values: tuple[float, ...], name: str, more: float
) -> None:
    before = features(*values)
    after = replace(before, **{name: getattr(before, name) + np.float32(more)})
    change = float(relevance(after)[0] - relevance(before)[0])
    assert change * getattr(RelevanceWeights(), name) >= 0
    assert 0 <= relevance(before)[0] <= 1


@pytest.mark.parametrize("name", FEATURES)
def test_in_the_middle_every_feature_moves_it(name: str) -> None:
    before = features(0.4, 0.4, 0.3, 0.05)
    after = replace(before, **{name: getattr(before, name) + np.float32(0.05)})
    assert (relevance(after)[0] - relevance(before)[0]) * getattr(RelevanceWeights(), name) > 0
    assert 0 < relevance(before)[0] < 1


def test_words_in_common_speak_for_a_row_and_other_speakers_against_it() -> None:
    late, cosine, lexical, conflict, _ = astuple(RelevanceWeights())
    assert min(late, cosine, lexical) > 0 > conflict


@pytest.mark.parametrize(
    ("similarity", "speaker", "conflict"),
    [
        ((0.25, 0.75, 0.5), (1, 0, 0), 0.5),
        ((0.25, 0.75, 0.5), (1, 1, 0), 0.0),
        ((0.25, 0.75, 0.5), (0, 0, 1), 0.25),
        ((0.25, np.nan, 0.5), (1, 0, 0), 0.25),
        ((np.nan, 0.75, 0.5), (1, 0, 0), 0.0),
        ((0.25, 0.75, np.nan), (0, 0, 1), 0.0),
        ((0.25, 0.75), (1, 1), 0.0),
        ((0.25, 0.75), (1 / 3, 0), 0.0),
        ((), (), 0.0),
    ],
)
def test_how_much_nearer_others_come(
    similarity: tuple[float, ...], speaker: tuple[float, ...], conflict: float
) -> None:
    assert speaker_conflict(floats(*similarity), floats(*speaker)) == conflict
