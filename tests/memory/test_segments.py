"""Segments end where the session, the time, the size or the topic says so, however the turns come in."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from memory.segments import EMPTY, Cut, Piece, SegmentSettings, Stream, cuts, end, push, whole
from retrieval.ports import Floats
from tests.conftest import NOW

SETTINGS = SegmentSettings(turns_min=2)


def direction(degrees: float) -> Floats:
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], dtype=np.float32)


def pieces(*degrees: float, session: str = "s") -> list[Piece]:
    return [Piece(session, None, direction(each), 1) for each in degrees]


def test_a_topic_ends_where_two_turns_running_say_something_else() -> None:
    assert cuts(pieces(0, 5, 3, 90, 85, 95, 4, 0), SETTINGS) == [Cut(3, "topic"), Cut(6, "topic")]
    # One turn that strays, and whose reply comes back, does not end it.
    assert cuts(pieces(0, 5, 3, 80, 2, 4), SETTINGS) == []
    # What goes on slowly, from each turn to the next, does not either.
    assert cuts(pieces(*range(0, 400, 20)), SETTINGS) == []


def test_a_segment_has_its_least_turns_before_a_topic_ends_it() -> None:
    turning = pieces(0, 90, 90, 90, 90)
    assert cuts(turning, SETTINGS) == []
    assert cuts(turning, replace(SETTINGS, turns_min=1)) == [Cut(1, "topic")]


def test_another_session_a_gap_and_a_size_end_it_whatever_is_said() -> None:
    same = pieces(0, 0)
    assert cuts([*same, *pieces(0, 0, session="t")]) == [Cut(2, "session")]
    at = [NOW, NOW + timedelta(hours=1), NOW + timedelta(hours=2, seconds=1), None, NOW + timedelta(days=9)]
    timed = [replace(piece, at=moment) for piece, moment in zip(pieces(*[0] * 5), at, strict=True)]
    assert cuts(timed) == [Cut(2, "time")]
    assert cuts(pieces(*[0] * 7), SegmentSettings(turns_max=3)) == [Cut(3, "size"), Cut(6, "size")]
    assert cuts(pieces(*[0] * 5), SegmentSettings(tokens_max=2)) == [Cut(2, "size"), Cut(4, "size")]


def test_turns_without_a_vector_are_of_the_segment_that_runs() -> None:
    blank = Piece("s", None, None)
    assert cuts([blank] * 9) == []
    assert cuts([blank, blank, *pieces(0, 0, 90, 90)], SETTINGS) == [Cut(4, "topic")]
    assert cuts([]) == []


def test_as_many_whole_segments_as_fit_or_as_many_turns() -> None:
    found = [Cut(4, "topic"), Cut(7, "topic"), Cut(12, "topic")]
    assert [whole(found, most) for most in (4, 6, 8, 11, 12, 13, 30)] == [4, 4, 7, 7, 12, 12, 30]
    assert whole([], 5) == 5


piece_of = st.builds(
    Piece,
    st.sampled_from(["s", "s", "s", "t"]),
    st.one_of(st.none(), st.integers(0, 9).map(lambda hours: NOW + timedelta(hours=hours))),
    st.one_of(st.none(), st.integers(0, 359).map(direction)),
    st.integers(0, 9),
)


@given(st.lists(piece_of, max_size=30), st.lists(st.integers(0, 30), max_size=4))
def test_any_portions_give_the_same_cuts_and_no_segment_is_too_large(turns: list[Piece], ends: list[int]) -> None:
    settings = SegmentSettings(turns_min=2, turns_max=6, tokens_max=20)
    portions = [0, *sorted(min(each, len(turns)) for each in ends), len(turns)]
    stream, found = EMPTY, []
    for start, stop in pairwise(portions):
        stream, some = _portion(stream, turns[start:stop], settings)
        found += some
    last = end(stream, settings)
    found += [last] if last is not None else []
    assert found == cuts(turns, settings)
    places = [0, *(cut.place for cut in found), len(turns)]
    for start, stop in pairwise(places):
        segment = turns[start:stop]
        assert len(segment) <= 6
        assert sum(piece.tokens for piece in segment) <= 20
        assert len({piece.session for piece in segment}) <= 1
    assert all(turns[cut.place].session != turns[cut.place - 1].session for cut in found if cut.reason == "session")


def _portion(stream: Stream, turns: Sequence[Piece], settings: SegmentSettings) -> tuple[Stream, list[Cut]]:
    """A portion, as one that was kept and taken up again would take it in."""
    found = []
    for piece in turns:
        stream, cut = push(stream, piece, settings)
        found += [cut] if cut is not None else []
    return stream, found
