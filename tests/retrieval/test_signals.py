"""Each signal by value, on rows that are told in a line each."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.corpus import RowText, turns
from retrieval.late import QueryTokens, max_similarities, query_tokens, windowed
from retrieval.plan import plan
from retrieval.ports import Floats, TokenCodes
from retrieval.signals import (
    answer_signal,
    date_signal,
    day_signal,
    exchange_signal,
    late_signal,
    previous_signal,
    speaker_signal,
    standing_signal,
)
from retrieval.times import Expression
from retrieval.traits import Trait
from tests.retrieval.corpora import NOW, UNIT, AxisEncoder, Row, World, codes, memories


def asked(words: str) -> QueryTokens:
    return query_tokens(AxisEncoder().encode_tokens([words])[0], lambda _: 1.0)


def floats(*values: float) -> Floats:
    return np.array(values, dtype=np.float32)


def test_a_speaker_counts_by_his_share_and_nobody_by_none() -> None:
    found = speaker_signal({"Ann": 1.0, "Bob": 0.25}, ["Bob", None, "Ann", "Eve", ""])
    assert found.tolist() == [0.25, 0.0, 1.0, 0.0, 0.0]


def test_an_instruction_stands_more_than_a_preference_and_a_reply_tells_nobody_what_to_do() -> None:
    rows = [Row("Always use tabs."), Row("I prefer tea."), Row("tea"), Row("Always use tabs.", reply=True)]
    both = Row("From now on I prefer tea.")
    assert standing_signal(World(memories(*rows, both)).corpus()).tolist() == [1.0, 0.5, 0.0, 0.0, 1.0]


def test_an_answer_of_the_right_sort_counts_minus_the_share_of_such_rows() -> None:
    corpus = World(memories(Row("I live in Lisbon"), Row("a lamp"), Row("two lamps"), Row("a cup"))).corpus()
    assert answer_signal(Trait.PLACE, corpus).tolist() == [0.75, -0.25, -0.25, -0.25]
    assert answer_signal(Trait.PLACE | Trait.NUMBER, corpus).tolist() == [0.5, -0.5, 0.5, -0.5]
    assert answer_signal(Trait(0), corpus).tolist() == [0.0] * 4


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("what was on 10 March 2026?", [0, 1, 1, 1, 0, 0]),
        ("what was since 10 March 2026?", [0, 1, 1, 1, 1, 0]),
        ("what was until 10 March 2026?", [1, 1, 1, 1, 0, 0]),
        ("what was on 1 March 2026 or 20 March 2026?", [1, 0, 0, 0, 1, 0]),
        ("what was it?", [0, 0, 0, 0, 0, 0]),
    ],
)
def test_a_day_reaches_a_day_further_and_what_has_no_time_is_on_none(query: str, found: list[int]) -> None:
    said = [datetime(2026, 3, day, 12, tzinfo=UTC) for day in (1, 9, 10, 11, 20)]
    corpus = World(memories(*(Row(said=moment) for moment in said), Row())).corpus()
    assert day_signal(plan(query, NOW).dates, corpus).tolist() == found


def test_a_date_is_matched_by_when_it_was_said_or_by_what_it_mentions() -> None:
    day = plan("what was on 10 March 2026?", NOW).dates
    said = [datetime(2026, 3, day, 12, tzinfo=UTC) for day in (10, 17)]
    corpus = World(memories(Row(said=said[0]), Row(said=said[1]), Row(said=said[1]), Row(), Row())).corpus()
    texts: Sequence[RowText | None] = [
        None,
        None,
        RowText("last Tuesday", said[1]),
        RowText("on 10 March 2026", None),
        None,
    ]
    assert date_signal(day, corpus, np.arange(5), texts).tolist() == [1.0, 0.0, 1.0, 1.0, 0.0]
    assert date_signal(day, corpus, np.array([3, 1, 0]), [None] * 3).tolist() == [0.0, 0.0, 1.0]


def test_a_mentioned_day_is_one_of_the_zone_in_which_the_text_was_said() -> None:
    """The same moment is 1 o'clock on the 11th there, and half past three on the 10th here."""
    corpus = World(memories(Row("I go there tomorrow."))).corpus()
    here = datetime(2026, 3, 10, 15, 30, tzinfo=UTC)
    there = here.astimezone(timezone(timedelta(hours=9, minutes=30)))
    dates = plan("what happens on 12 March 2026?", NOW).dates
    texts = [RowText("I go there tomorrow.", at) for at in (here, there, here)]
    first, second, third = (date_signal(dates, corpus, np.array([0]), [text])[0] for text in texts)
    assert first == third < second


def test_late_interaction_of_a_row_is_the_mean_of_its_words() -> None:
    world = World(memories(*(Row(angle=0, heard=words) for words in ("dog park", "dog cat", "cat", "")), Row()))
    corpus = world.corpus()
    found = late_signal("n", world.index(), corpus, turns(corpus), np.arange(5), asked("dog park"))
    np.testing.assert_allclose(found.own, [UNIT, 0, -UNIT, np.nan, np.nan], atol=1e-6)
    np.testing.assert_allclose(found.windowed, found.own, atol=1e-6)


def test_neighbours_outside_the_pool_take_part() -> None:
    rows = [Row(angle=0, heard=words, session=1, turn=turn) for turn, words in enumerate(["dog", "cat", "film", ""])]
    world = World(memories(*rows, Row(angle=0, heard="dog", session=2)))
    corpus = world.corpus()
    found = late_signal("n", world.index(), corpus, turns(corpus), np.array([2, 1]), asked("dog"))
    np.testing.assert_allclose(found.windowed, [0.6 * UNIT, 0.8 * UNIT], atol=1e-6)
    np.testing.assert_allclose(found.own, [-UNIT, -UNIT], atol=1e-6)


def test_neighbours_are_on_the_same_side() -> None:
    rows = [
        Row(angle=0, heard="dog", session=1, turn=0),
        Row(angle=0, heard="cat", session=1, turn=1, reply=True),
        Row(angle=0, heard="film", session=1, turn=2),
    ]
    world = World(memories(*rows))
    corpus = world.corpus()
    found = late_signal("n", world.index(), corpus, turns(corpus), np.arange(3), asked("dog"))
    np.testing.assert_allclose(found.windowed, [UNIT, -UNIT, 0.8 * UNIT], atol=1e-6)


def test_a_row_has_the_best_of_the_replies_to_it() -> None:
    rows = [Row(session=1, turn=turn, reply=turn in (1, 2, 4)) for turn in range(6)]
    corpus = World(memories(*rows)).corpus()
    own = floats(0.9, 0.25, 0.5, 0.9, np.nan, 0.9)
    found = exchange_signal(corpus, turns(corpus), np.arange(6), own)
    np.testing.assert_array_equal(found, floats(0.5, np.nan, np.nan, np.nan, np.nan, np.nan))
    found = exchange_signal(corpus, turns(corpus), np.array([1, 0]), floats(0.25, 0.9))
    np.testing.assert_array_equal(found, floats(np.nan, 0.25))


def test_fresh_codes_take_the_place_of_stale_ones() -> None:
    rows = [
        Row(angle=0, heard="dog", fresh=(0, "cat")),
        Row(fresh=(0, "dog")),
        Row(angle=0, heard="dog", fresh=(0, "")),
        Row(angle=0, heard="dog"),
    ]
    world = World(memories(*rows))
    corpus = world.corpus()
    found = late_signal("n", world.index(), corpus, turns(corpus), np.arange(4), asked("dog"))
    np.testing.assert_allclose(found.own, [-UNIT, UNIT, np.nan, UNIT], atol=1e-6)
    alone = late_signal("n", World(memories(Row())).index(), corpus, turns(corpus), np.array([1, 3]), asked("dog"))
    np.testing.assert_allclose(alone.own, [UNIT, np.nan], atol=1e-6)


heard = st.sampled_from(["dog", "park", "cat", "dog park", ""])
said_rows = st.lists(
    st.builds(
        Row,
        angle=st.sampled_from([None, 0.0]),
        heard=heard,
        fresh=st.none() | st.tuples(st.just(0.0), heard),
        session=st.sampled_from([None, 1, 2]),
        turn=st.integers(0, 9),
    ),
    min_size=1,
    max_size=10,
)


@given(said_rows, st.data())
def test_a_pool_gives_what_looking_at_every_row_gives(rows: list[Row], data: st.DataObject) -> None:
    world = World(memories(*rows))
    corpus = world.corpus()
    said = turns(corpus)
    query = asked("dog park lake")
    words = [row.fresh[1] if row.fresh else row.heard if row.angle is not None else "" for row in rows]
    bits = [codes(each) for each in words]
    every = TokenCodes(corpus.rows, np.cumsum([0, *map(len, bits)]), np.concatenate(bits))
    best = max_similarities(query.vectors, every)
    wide = np.empty_like(best)
    wide[said.order] = windowed(best[said.order], said.sessions, np.arange(len(rows)))
    pool = np.array(data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, unique=True)))
    found = late_signal("n", world.index(), corpus, said, pool, query)
    np.testing.assert_allclose(found.own, (best @ query.weights)[pool], atol=1e-6)
    np.testing.assert_allclose(found.windowed, (wide @ query.weights)[pool], atol=1e-6)


def test_what_follows_a_question_counts_by_its_own_late_interaction() -> None:
    texts = [("dog?", 1), ("dog", 1), ("park", 1), ("dog?", 2), ("cat", 3), ("so?", 4), ("cat", 4)]
    rows = [Row(text, session=session, turn=turn) for turn, (text, session) in enumerate(texts)]
    corpus = World(memories(*rows)).corpus()
    own = floats(2, 2, 0, 2, 0, 0, 0)
    found = previous_signal(corpus, turns(corpus), np.arange(7), own)
    deviation = np.sqrt(48) / 7
    assert found.tolist() == pytest.approx([0, (2 - 6 / 7) / deviation, 0, 0, 0, 0, 0])
    unknown = previous_signal(corpus, turns(corpus), np.array([6, 1]), floats(np.nan, 1))
    assert unknown.tolist() == [0.0, 0.0]


def test_days_at_the_ends_of_the_calendar_reach_no_further() -> None:
    corpus = World(memories(Row(said=NOW), Row(said=NOW - timedelta(days=400)), Row())).corpus()
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    day = timedelta(days=1)
    since = Expression(0, 1, first, first + day, "day", False, "since")
    until = Expression(0, 1, last - day, last, "day", False, "until")
    assert day_signal([since], corpus).tolist() == day_signal([until], corpus).tolist() == [1.0, 1.0, 0.0]
    assert day_signal([replace(since, role="at"), replace(until, role="at")], corpus).tolist() == [0.0, 0.0, 0.0]
