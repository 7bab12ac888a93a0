"""What a text is read as: how it speaks, and what sort of answer it could hold."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.traits import Spoken, Trait, answer_traits, asks, traits, without_note


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("How are you?", Trait.ASKS),
        ("Look at him! What is his name? [photo: a photo of a dog]", Trait.ASKS),
        ("元気ですか？", Trait.ASKS),
        ("Thanks, that helps a lot!", Trait.AGREES),
        ("Yesterday's soup was good.", Trait.TIME),
        ("Always answer in French.", Trait.INSTRUCTS | Trait.PLACE | Trait.PERSON),
        ("It rains. Please always take the bus.", Trait.INSTRUCTS),
        ("I always take the bus.", Trait(0)),
        ("I'd prefer the quiet seat.", Trait.PREFERS),
        ("I moved to Lisbon.", Trait.PLACE | Trait.PERSON),
        ("my sister called", Trait.PERSON),
        ("we have two dogs", Trait.NUMBER),
        ("We met in 2019.", Trait.TIME | Trait.NUMBER),
        ("", Trait(0)),
    ],
)
def test_the_traits_of_a_text(text: str, expected: Trait) -> None:
    assert traits(text) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("When did she move?", Trait.TIME),
        ("Which year was it?", Trait.TIME),
        ("How long did it take?", Trait.TIME | Trait.NUMBER),
        ("How many dogs has she?", Trait.NUMBER),
        ("Where does she live?", Trait.PLACE),
        ("Which country did she see?", Trait.PLACE),
        ("Who called?", Trait.PERSON),
        ("What did she buy?", Trait(0)),
    ],
)
def test_the_answer_that_a_question_asks_for(query: str, expected: Trait) -> None:
    assert answer_traits(query) == expected


def test_notes_in_brackets_at_the_end_are_left_out() -> None:
    assert without_note("Nice! [photo: a dog] [2 likes] ") == "Nice!"
    assert without_note("[photo: a dog]") == "[photo: a dog]"
    assert asks("[he asked?] yes") is False


@given(st.text(st.sampled_from("iIsSſkKıİ’' 7é"), max_size=12), st.integers(0, 12))
def test_what_is_spoken_is_met_in_either_case(text: str, end: int) -> None:
    pattern = r"\b(?:is|i['’]s k|sk\d)\b|^\W*kk"
    found, expected = Spoken(pattern).search(text, 0, end), re.compile(pattern, re.I).search(text, 0, end)
    assert (found and found.span()) == (expected and expected.span())


@given(st.text(max_size=200))
def test_any_text_has_traits(text: str) -> None:
    assert 0 <= traits(text) < 256
    assert asks(text) == bool(traits(text) & Trait.ASKS)


@pytest.mark.parametrize("piece", ["a ", "[", "]", "my ", "in A", "?", "1", "\n", "é", "always "])
def test_64_kib_are_read_in_linear_time(piece: str) -> None:
    text = piece * (65536 // len(piece.encode()))
    started = time.perf_counter()
    traits(text)
    answer_traits(text)
    assert time.perf_counter() - started < 2.0
