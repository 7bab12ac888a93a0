"""Which sentences of a turn last for its session."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.lasting import SENTENCE_CHARS_MAX, SENTENCES_MAX, lasting
from tests.conftest import make_memory


def read(text: str, **fields: object) -> list[tuple[str, str]]:
    memory = make_memory(1, text, **fields)
    return [(each.slot, text[each.start : each.end].strip()) for each in lasting(memory)]


@pytest.mark.parametrize(
    ("text", "slot"),
    [
        ("Always answer in metric units.", "instruction"),
        ("Whenever I ask for a route, give me the train.", "instruction"),
        ("I'd prefer a window seat.", "instruction"),
        ("I want to run a marathon next year.", "goal"),
        ("We're planning to move to Porto.", "goal"),
        ("I'm working on my thesis.", "goal"),
        ("My goal is to read more.", "goal"),
        ("My monthly budget is 900 euros.", "value"),
        ("I'm allergic to nuts.", "value"),
        ("I work at the harbour.", "value"),
        ("I've just adopted a dog.", "value"),
    ],
)
def test_what_lasts(text: str, slot: str) -> None:
    assert [found for found, _ in read(text)] == [slot]


@pytest.mark.parametrize(
    "text",
    [
        "Thanks a lot!",
        "Do I want to go?",
        "The dog ran.",
        "元気です",
        "",
        "I always take the bus.",
        "You want to go.",
        "Whenever I hear it, I think of her.",
    ],
)
def test_what_does_not(text: str) -> None:
    assert read(text or "…") == []


def test_only_sentences_of_a_user_or_a_person_and_a_few_of_a_turn() -> None:
    said = "It rains. I want to go home! My cat is old. I own a boat."
    assert read(said) == [("goal", "I want to go home"), ("value", "My cat is old")]
    assert len(read(said)) == SENTENCES_MAX
    assert read(said, role="user") == read(said, speaker="Ann") == read(said)
    assert read(said, role="assistant") == read(said, kind="document") == []
    assert read("I want to " + "go on and " * (SENTENCE_CHARS_MAX // 10) + "on.") == []


@given(st.text(max_size=300))
def test_any_text_is_read_and_the_places_are_in_it(text: str) -> None:
    memory = make_memory(1, text or "x")
    assert all(0 <= each.start < each.end <= len(memory.item.text) for each in lasting(memory))


def test_a_long_text_is_read_soon() -> None:
    started = time.process_time()
    for text in ("I want " * 9000, "my " * 20000, "I've " * 12000, "a" * 60000, "I " * 30000):
        lasting(make_memory(1, text))
    assert time.process_time() - started < 1
