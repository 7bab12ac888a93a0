"""The columns of a search against loops over them: turns, neighbours, what was said before, which profile."""

import itertools
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.corpus import Columns, Corpus, RowText, no_nudges, turns
from retrieval.traits import Trait
from tests.retrieval.corpora import Row, World, at, codes, memories

conversations = st.lists(
    st.builds(Row, session=st.sampled_from([None, 7, 3]), turn=st.integers(0, 5), reply=st.booleans()),
    min_size=1,
    max_size=12,
)


def in_order(corpus: Corpus, apart: bool = True) -> dict[tuple[int, bool], list[int]]:
    """The rows of each session, and side of it, by moment, then key, one comparison after another."""
    sessions: dict[tuple[int, bool], list[int]] = {}
    for row in range(len(corpus.rows)):
        side = apart and bool(corpus.replies[row])
        sessions.setdefault((int(corpus.sessions[row]), side), []).append(row)
    return {
        session: sorted(rows, key=lambda row: (corpus.moments[row], corpus.rows[row]))
        for session, rows in sessions.items()
    }


@given(conversations)
def test_turns_stand_by_session_side_moment_and_key(rows: list[Row]) -> None:
    corpus = World(memories(*rows)).corpus()
    said = turns(corpus)
    sessions = in_order(corpus)
    assert said.order.tolist() == [row for session in sorted(sessions) for row in sessions[session]]
    assert said.order[said.places].tolist() == list(range(len(rows)))
    groups = [session for session in sorted(sessions) for _ in sessions[session]]
    together = [one == other for one, other in itertools.pairwise(groups)]
    assert [one == other for one, other in itertools.pairwise(said.sessions.tolist())] == together


@given(conversations)
def test_an_exchange_is_what_the_user_says_and_the_replies_to_it(rows: list[Row]) -> None:
    corpus = World(memories(*rows)).corpus()
    wanted: list[list[int]] = []
    for session in in_order(corpus, apart=False).values():
        before = None
        for row in session:
            reply = bool(corpus.replies[row])
            if before is None or (before and not reply):
                wanted.append([])
            wanted[-1].append(row)
            before = reply
    exchanges = turns(corpus).exchanges
    found = [np.flatnonzero(exchanges == exchange).tolist() for exchange in np.unique(exchanges)]
    assert sorted(found) == sorted(map(sorted, wanted))


@given(conversations, st.data(), st.integers(0, 3))
def test_around_are_the_neighbours_of_a_session(rows: list[Row], data: st.DataObject, reach: int) -> None:
    corpus = World(memories(*rows)).corpus()
    said = turns(corpus)
    asked = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, unique=True))
    near = {
        other
        for session in in_order(corpus).values()
        for row in asked
        if row in session
        for other in session[max(0, session.index(row) - reach) : session.index(row) + reach + 1]
    }
    assert said.around(np.array(asked), reach).tolist() == [row for row in said.order.tolist() if row in near]


@given(conversations)
def test_before_is_the_turn_before_in_a_session(rows: list[Row]) -> None:
    corpus = World(memories(*rows)).corpus()
    wanted = dict.fromkeys(range(len(rows)), -1)
    for session in in_order(corpus).values():
        wanted |= dict(zip(session[1:], session, strict=False))
    assert turns(corpus).before(np.arange(len(rows))).tolist() == list(wanted.values())


@pytest.mark.parametrize(
    ("rows", "profile"),
    [
        ([Row(speaker="Ann"), Row(speaker="Bob"), Row()], "people"),
        ([Row(speaker="Ann"), Row()], "assistant"),
        ([Row()], "assistant"),
        ([Row(document=True), Row(document=True), Row(speaker="Ann")], "documents"),
        ([Row(document=True), Row(speaker="Ann")], "people"),
        ([Row(document=True), Row(document=True), Row(speaker="Ann"), Row()], "assistant"),
    ],
)
def test_what_most_rows_are_decides_the_profile(rows: list[Row], profile: str) -> None:
    assert World(memories(*rows)).corpus().profile() == profile


def test_a_row_has_a_trait_when_it_has_any_of_those_asked_for() -> None:
    corpus = World(memories(Row("Is it?"), Row("yes"), Row("a lamp"), Row("two lamps"))).corpus()
    assert corpus.has(Trait.ASKS).tolist() == [True, False, False, False]
    assert corpus.has(Trait.AGREES | Trait.NUMBER).tolist() == [False, True, False, True]
    assert corpus.has(Trait(0)).tolist() == [False] * 4


def test_a_text_is_cut_and_keeps_the_rest() -> None:
    text = RowText("twelve chars", datetime(2026, 1, 1, tzinfo=UTC), (3, 15))
    assert text.cut(12) is text
    assert text.cut(6) == RowText("twelve", text.occurred_at, (3, 15))


def test_a_corpus_over_columns_has_those_columns() -> None:
    made = World(memories(Row("dog", speaker="Ann"), Row())).corpus()
    columns = Columns(*(getattr(made, name) for name in Columns.__match_args__))
    vectors, fresh = {1: at(0)}, {2: codes("dog")}
    over = Corpus.over(columns, made.lexical, made.describe, vectors, fresh, no_nudges)
    assert all(getattr(over, name) is getattr(made, name) for name in Columns.__match_args__)
    assert (over.lexical, over.describe) == (made.lexical, made.describe)
    assert (over.vectors, over.codes, over.nudges) == (vectors, fresh, no_nudges)
