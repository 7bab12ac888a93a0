"""What a query is read as: terms, names, dates, and the same question in the first person."""

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.plan import (
    SUBJECT_SHARE,
    TERMS_MAX,
    in_first_person,
    named_speakers,
    plan,
    spoken_shares,
    terms_without,
)

NOW = datetime(2026, 3, 14, 9, 0, tzinfo=UTC)
KIB_64 = 64 * 1024


def test_terms_are_analysed_without_stop_words_and_repeats_are_kept() -> None:
    assert plan("Where did Ann's dogs run? The dog ran.", NOW).terms == ("dog", "dog", "ann", "run", "ran")
    assert plan("Who am I?", NOW).terms == ("who", "am", "i")
    assert plan("?!", NOW).terms == ()


def test_of_a_very_long_query_the_commonest_terms_are_kept() -> None:
    rare = [f"w{number}" for number in range(500)]
    terms = plan(" ".join([*rare, "dog dog dog", *rare[:100]]), NOW).terms
    assert len(set(terms)) == TERMS_MAX
    assert terms[:3] == ("dog",) * 3
    assert set(rare[:100]) <= set(terms)
    assert terms.count("w7") == 2


def test_dates_are_read_from_the_time_that_is_passed_in() -> None:
    found = plan("what did she say yesterday?", NOW).dates
    assert [(date.start, date.end) for date in found] == [
        (datetime(2026, 3, 13, tzinfo=UTC), datetime(2026, 3, 14, tzinfo=UTC))
    ]
    assert plan("what did she say?", NOW).dates == ()


@pytest.mark.parametrize(
    ("query", "speaker", "named"),
    [
        ("Where does Alice live?", "Alice", True),
        ("where does alice live?", "Alice", True),
        ("What is Alice's job?", "Alice", True),
        ("What is Alice’s job?", "Alice", True),
        ("Where does Lee live?", "Ann Lee", True),
        ("Where does Ann Lee live?", "Ann Lee", True),
        ("Where does Al live?", "Al Kim", False),
        ("Where does Al Kim live?", "Al Kim", True),
        ("Where does Al live?", "Al", True),
        ("Where do malice and Alicia live?", "Alice", False),
        ("Will you go?", "Will", True),
        ("Where will she go?", "Will", False),
        ("Wo wohnt Jürgen?", "Jürgen", True),
        ("Where does O'Brien live?", "O'Brien", True),
        ("Where does 美咲 live?", "美咲", True),
        ("Where?", "", False),
        ("Where?", "?!", False),
    ],
)
def test_a_query_names_a_speaker_by_the_whole_name_or_a_part_of_three_letters(
    query: str, speaker: str, named: bool
) -> None:
    read = plan(query, NOW)
    assert read.names(speaker) == named
    assert named_speakers(read, [speaker, "Somebody Else"]) == ({speaker} if named else set())


@pytest.mark.parametrize(
    ("query", "speakers", "asked"),
    [
        ("Where does Alice live?", ["Alice"], "Where do I live?"),
        ("What is Alice's job?", ["Alice"], "What is my job?"),
        ("What is Alice’s job?", ["Alice"], "What is my job?"),
        ("What are James' plans?", ["James"], "What are my plans?"),
        ("Where does Ann Lee live?", ["Ann Lee"], "Where do I live?"),
        ("What is Ann Lee's job?", ["Ann Lee"], "What is my job?"),
        ("Did Ann meet Bob?", ["Ann", "Bob"], "Did I meet I?"),
        ("Where does Alice live?", [], "Where does Alice live?"),
        ("where will Will go?", ["Will"], "where will I go?"),
        ("Is Ann happy with her job?", ["Ann"], "am I happy with my job?"),
        ("What has Ann told him about himself?", ["Ann"], "What have I told me about me?"),
        ("Has Ann told Bob his name?", ["Ann", "Bob"], "have I told I his name?"),
    ],
)
def test_the_names_of_those_who_speak_become_the_first_person(query: str, speakers: list[str], asked: str) -> None:
    assert in_first_person(plan(query, NOW), speakers) == asked


@pytest.mark.parametrize(
    ("query", "speakers", "shares"),
    [
        ("Where does Ann live?", ["Ann"], {"Ann": 1.0}),
        ("What did Ann give to Bob?", ["Bob", "Ann"], {"Ann": SUBJECT_SHARE}),
        ("What did Bob get from Ann?", ["Ann", "Bob"], {"Bob": SUBJECT_SHARE}),
        ("What have Ann and Bob both done?", ["Ann", "Bob"], {}),
        ("Who knows Ann, Bob, Eve?", ["Ann", "Bob", "Eve"], {}),
        ("Where?", [], {}),
    ],
)
def test_who_says_the_answer(query: str, speakers: list[str], shares: dict[str, float]) -> None:
    assert spoken_shares(plan(query, NOW), speakers) == shares


def test_the_names_of_speakers_are_no_search_terms_unless_there_are_no_others() -> None:
    assert terms_without(plan("Where did Ann Lee's dogs run?", NOW), ["Ann Lee"]) == ["dog", "run"]
    assert terms_without(plan("Who is Ann?", NOW), ["Ann"]) == ["ann"]


@pytest.mark.parametrize("query", ["What did she do recently?", "Where is she now?", "What is she currently reading?"])
def test_what_is_current_is_no_date(query: str) -> None:
    assert plan(query, NOW).dates == ()


@given(st.text(max_size=60), st.lists(st.text(max_size=8), max_size=3))
def test_a_query_that_names_nobody_stays_as_it_is(query: str, speakers: list[str]) -> None:
    read = plan(query, NOW)
    named = named_speakers(read, speakers)
    assert named <= set(speakers)
    if not named:
        assert in_first_person(read, named) == query


@pytest.mark.parametrize("piece", ["I ", "a-", "a'", "Ann's ", "Ann ", " ", "?", "é", "東", "👍", "last week ", "1,"])
def test_a_query_of_64_kib_is_read_in_linear_time(piece: str) -> None:
    query = piece * (KIB_64 // len(piece.encode()))
    started = time.perf_counter()
    read = plan(query, NOW)
    in_first_person(read, named_speakers(read, ["Ann", "I", "a"]))
    assert time.perf_counter() - started < 5.0
    assert len(set(read.terms)) <= TERMS_MAX
