"""The nudge of votes: bounded, monotone, symmetric, and nothing without votes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.feedback import nudge

counts = st.integers(0, 10**9)


def test_a_nudge_is_the_mean_vote_with_two_votes_of_nothing_before_it() -> None:
    assert nudge(0, 0) == 0.0
    assert (nudge(1, 0), nudge(2, 0), nudge(3, 1)) == pytest.approx((1 / 3, 1 / 2, 1 / 3))


@given(counts, counts)
def test_a_nudge_is_bounded_and_symmetric(useful: int, useless: int) -> None:
    assert -1.0 < nudge(useful, useless) < 1.0
    assert nudge(useful, useless) == -nudge(useless, useful)
    assert nudge(useful, useful) == 0.0


@given(st.integers(0, 10**5), st.integers(0, 10**5))
def test_one_more_vote_moves_it_towards_what_it_says(useful: int, useless: int) -> None:
    assert nudge(useful + 1, useless) > nudge(useful, useless) > nudge(useful, useless + 1)
