"""Filling procedures: what is put where, with which type, and what is refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.procedures import FILLED_CHARS_MAX, fill, mismatch, placeholders
from recalld.core.errors import InvalidInput

BOOK: dict[str, Any] = {
    "task": "book {place}",
    "steps": [
        {
            "action": "search {place}",
            "parameters": {"people": "{people}", "words": ["near {place}", {"deep": "{place}"}]},
        },
        {"action": "tap", "parameters": {"json": '{{"a": {{}}}}', "size": 3, "none": None}},
        {"action": "leave"},
    ],
    "outcome": {"success": True, "note": "{not a parameter}"},
}


def test_every_placeholder_is_filled_with_its_type_and_braces_stay() -> None:
    assert placeholders(BOOK) == ["place", "people"]
    assert fill(BOOK, {"place": "Porto", "people": 4}) == {
        "task": "book Porto",
        "steps": [
            {"action": "search Porto", "parameters": {"people": 4, "words": ["near Porto", {"deep": "Porto"}]}},
            {"action": "tap", "parameters": {"json": '{"a": {}}', "size": 3, "none": None}},
            {"action": "leave"},
        ],
    }


def test_what_has_to_be_text_stays_text() -> None:
    told = {"task": "{x}", "steps": [{"action": "{x}", "parameters": {"a": "{x}", "b": "is {x}"}}]}
    assert fill(told, {"x": [1, "é"]}) == {
        "task": '[1, "é"]',
        "steps": [{"action": '[1, "é"]', "parameters": {"a": [1, "é"], "b": 'is [1, "é"]'}}],
    }


def test_a_value_is_not_read_for_placeholders() -> None:
    told = {"task": "{x} {y}", "steps": []}
    assert fill(told, {"x": "{y}", "y": "{{x}}"})["task"] == "{y} {{x}}"


def test_what_is_missing_and_what_is_too_much_is_named() -> None:
    assert mismatch(BOOK, {"people": 2, "city": 1}) == (["place"], ["city"])
    with pytest.raises(InvalidInput) as refused:
        fill(BOOK, {"people": 2, "city": "sesame"})
    assert [(error.field, error.message) for error in refused.value.fields] == [
        ("parameters.place", "is missing"),
        ("parameters.city", "is not a parameter of this procedure"),
    ]
    assert "sesame" not in refused.value.detail


def test_a_long_value_in_many_places_is_refused() -> None:
    told = {"task": "x", "steps": [{"action": "say", "parameters": {"text": "{x}" * 100}}]}
    assert len(fill(told, {"x": "a" * 1000})["steps"][0]["parameters"]["text"]) == 100_000
    with pytest.raises(InvalidInput) as refused:
        fill(told, {"x": "a" * 10_000})
    assert [(error.field, error.limit) for error in refused.value.fields] == [("parameters", FILLED_CHARS_MAX)]


NAMES = st.sampled_from(["a", "b_1", "Zed"])
TEXTS = st.lists(st.sampled_from(["{a}", "{b_1}", "{Zed}", "{{", "}}", "{", "}", "x", " ", "{ a }", "é"])).map("".join)


@given(TEXTS, st.lists(TEXTS, max_size=3))
def test_filling_with_just_the_placeholders_always_works_and_leaves_none(task: str, texts: list[str]) -> None:
    told = {"task": task, "steps": [{"action": each, "parameters": {"x": each}} for each in texts]}
    names = placeholders(told)
    given = dict.fromkeys(names, "V")
    filled = fill(told, given)
    assert mismatch(told, given) == ([], [])
    assert ("V" in f"{filled}") == bool(names)
    assert [step["action"] for step in filled["steps"]] == [step["parameters"]["x"] for step in filled["steps"]]
    if "{" not in task:
        assert filled["task"] == task.replace("}}", "}")
