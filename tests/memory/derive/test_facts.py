"""The grammar of facts: what is read, what is left alone, and which dates belong to what."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.derive.facts import read
from memory.facts import Statement
from tests.conftest import make_memory

SAID_AT = datetime(2024, 5, 15, 12, tzinfo=UTC)  # a Wednesday

WORDS = ["I", "we", "my", "live", "in", "have", "never", "been", "to", "Lisbon", ",", ".", "?", "'", "used", "am", "$3"]


def statements(text: str, **fields: Any) -> list[Statement]:
    return read(make_memory(1, text, **({"role": "user", "occurred_at": SAID_AT} | fields)))


def triples(text: str, **fields: Any) -> list[tuple[str, str, bool]]:
    return [(each.triple.predicate, each.triple.object, each.triple.negated) for each in statements(text, **fields)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I live in Lisbon with my wife.", [("lives in", "Lisbon", False)]),
        ("I moved to Lisbon last week!", [("lives in", "Lisbon", False)]),
        ("Well, I'm based in Lisbon, Portugal.", [("lives in", "Lisbon, Portugal", False)]),
        ("I work for Acme Corp as an engineer.", [("works at", "Acme Corp", False)]),
        ("I've been working at Acme since 2019.", [("works at", "Acme", False)]),
        ("I'm 34 years old.", [("is aged", "34", False)]),
        ("I'm allergic to peanuts.", [("is allergic to", "peanuts", False)]),
        ("I'm a nurse.", [("is", "a nurse", False)]),
        ("I really love hiking in the hills.", [("loves", "hiking in the hills", False)]),
        ("I don't like olives.", [("likes", "olives", True)]),
        ("I've never met Kyle.", [("met", "Kyle", True)]),
        ("I've been to Rome.", [("has been to", "Rome", False)]),
        ("I'm planning to visit Rome.", [("plans to", "visit Rome", False)]),
        ("I have a dog.", [("has", "a dog", False)]),
        ("We adopted two cats from a shelter.", [("adopted", "two cats from a shelter", False)]),
        ("My favorite color is blue.", [("favorite color", "blue", False)]),
        ("My sister Ana called.", [("sister", "Ana", False)]),
        ("My budget is $500.", [("budget", "$500", False)]),
        ("I changed my budget from $500 to $650.", [("budget", "$650", False)]),
        ("I bought a car and drove home.", [("bought", "a car", False)]),
    ],
)
def test_what_is_said_is_read(text: str, expected: list[tuple[str, str, bool]]) -> None:
    assert triples(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Do I live in Lisbon?",
        "If I lived in Lisbon, I'd be glad.",
        "I wish I had a dog.",
        "I want to make sure I use the right tool.",
        "I might move to Rome.",
        "I'll see.",
        "I love it.",
        "I'm here for you.",
        "I have a question.",
        'He said "I live in Lisbon and I love it here".',
        "```\nI live in Lisbon\n```",
        "She lives in Lisbon.",
        "I think that's great.",
        "I have to go.",
        "I've been approached by a rival.",
        "",
        "I",
        "I'm",
        "My is",
    ],
)
def test_what_is_asked_supposed_quoted_or_says_nothing_is_left_alone(text: str) -> None:
    assert triples(text or "-") == []


def test_what_has_ended_and_what_changed_say_so() -> None:
    (used,) = statements("I used to play drums.")
    assert (used.triple.predicate, used.triple.object, used.ended) == ("plays", "drums", True)
    (changed,) = statements("My deadline was moved from April 20 to April 25.")
    assert (changed.triple.object, changed.replaces, changed.unique) == ("April 25", "April 20", True)


@pytest.mark.parametrize(
    ("text", "valid_from", "time", "due"),
    [
        ("I moved to Lisbon yesterday.", "2024-05-14", "2024-05-14", None),
        ("Last week I ran a charity race for mental health.", "2024-05-06", "2024-05-06", None),
        ("I've worked at Acme since 2019.", "2019-01-01", None, None),
        ("I plan to visit Rome by June 1.", None, None, "2024-06-01"),
        ("I'm planning to visit Rome next month.", None, "2024-06-01", None),
        ("I recently bought a car on May 3.", "2024-05-03", "2024-05-03", None),
        ("I bought a lamp from the 70s.", None, None, None),
        ("I bought a car, but the trip is next month.", None, None, None),
    ],
)
def test_dates_go_to_their_clause_as_what_they_are(
    text: str, valid_from: str | None, time: str | None, due: str | None
) -> None:
    (fact,) = statements(text)
    found = [each and f"{each.start:%Y-%m-%d}" for each in (fact.valid_from, fact.time, fact.due)]
    assert found == [valid_from, time, due]


def test_who_speaks_is_the_subject() -> None:
    assert [each.text for each in statements("I live in Lisbon.")] == ["user lives in Lisbon"]
    assert [each.text for each in statements("I love my dog.", speaker="Ann", role=None)] == ["Ann loves their dog"]
    assert statements("I live in Lisbon.", role="assistant") == []
    assert statements("I live in Lisbon.", kind="document") == []


@given(st.text(max_size=200) | st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join))
def test_every_span_lies_in_its_text_and_every_object_stands_there(text: str) -> None:
    for each in statements(text or "-"):
        start, end = each.span
        assert 0 <= start < end <= len(text)
        assert each.triple.object in text
        assert each.triple.object == each.triple.object.strip()
