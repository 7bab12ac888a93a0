"""What a write does to what is there: the table in `memory.lifecycle`, and RFC 7396 by its own examples."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.lifecycle import (
    add,
    check_version,
    close,
    etag,
    merge_patch,
    new_version,
    set_state,
    update,
)
from memory.model import Item, Memory
from recalld.core.errors import Conflict, PreconditionFailed
from tests.conftest import NOW, make_memory

LATER = NOW + timedelta(hours=1)
EXISTING = make_memory(1, "I live in Porto.", external_id="a", version=3, row=7, sources=("mem_9",))


def written(**fields: Any) -> Memory:
    return replace(make_memory(2), item=replace(EXISTING.item, **fields), recorded_at=LATER)


def test_nothing_there_adds_what_was_written() -> None:
    fresh = written()
    decision = add(None, fresh)
    assert (decision.memory, decision.changed) == (fresh, True)


def test_the_same_item_again_changes_nothing() -> None:
    decision = add(EXISTING, written())
    assert (decision.memory, decision.changed) == (EXISTING, False)


@pytest.mark.parametrize(
    "fields",
    [
        {"text": "I live in Lisbon."},
        {"metadata": {"a": 1}},
        {"speaker": "Ann"},
        {"role": "user"},
        {"occurred_at": NOW},
        {"expires_at": LATER},
        {"kind": "document"},
    ],
)
def test_another_item_makes_the_next_version_and_keeps_the_place(fields: dict[str, Any]) -> None:
    decision = add(EXISTING, written(**fields))
    wanted = replace(EXISTING, item=replace(EXISTING.item, **fields), version=4, recorded_at=LATER)
    assert (decision.memory, decision.changed) == (wanted, True)


def test_forgotten_stays_forgotten_whatever_is_written() -> None:
    forgotten = replace(EXISTING, state="forgotten")
    for fresh in (written(), written(text="I live in Lisbon.")):
        decision = add(forgotten, fresh)
        assert (decision.memory, decision.changed) == (forgotten, False)


@pytest.mark.parametrize(
    ("first", "second"),
    [(True, 1), (False, 0), (1, True), ([0], [False]), ({"b": 1.0}, {"b": True}), (None, False), ("1", 1)],
)
def test_json_values_of_another_type_are_another_item(first: Any, second: Any) -> None:
    """In Python `True == 1`; in JSON they are two values."""
    existing = replace(EXISTING, item=replace(EXISTING.item, metadata={"a": first}))
    assert update(existing, replace(existing.item, metadata={"a": second}), LATER).changed
    framed = replace(EXISTING, item=replace(EXISTING.item, kind="fact", frame={"a": first}))
    assert update(framed, replace(framed.item, frame={"a": second}), LATER).changed
    assert not update(existing, replace(existing.item, metadata={"a": first}), LATER).changed


def test_the_order_of_keys_is_no_change() -> None:
    existing = replace(EXISTING, item=replace(EXISTING.item, metadata={"a": 1, "b": {"c": 2, "d": 3}}))
    other = replace(existing.item, metadata={"b": {"d": 3, "c": 2}, "a": 1})
    assert not update(existing, other, LATER).changed


def test_an_update_makes_a_version_only_where_something_differs() -> None:
    item = replace(EXISTING.item, text="I live in Lisbon.")
    changed = update(EXISTING, item, LATER)
    assert (changed.memory, changed.changed) == (new_version(EXISTING, item, LATER), True)
    same = update(EXISTING, EXISTING.item, LATER)
    assert (same.memory, same.changed) == (EXISTING, False)


def test_a_forgotten_memory_can_not_be_changed() -> None:
    with pytest.raises(Conflict, match="restore it"):
        update(replace(EXISTING, state="forgotten"), EXISTING.item, LATER)


def test_forget_and_restore_are_versions_and_a_second_time_changes_nothing() -> None:
    forgotten = set_state(EXISTING, "forgotten", LATER, "asked")
    assert forgotten.memory == replace(EXISTING, state="forgotten", version=4, recorded_at=LATER)
    assert (forgotten.changed, forgotten.reason) == (True, "asked")
    again = set_state(forgotten.memory, "forgotten", LATER + timedelta(1), "asked")
    assert (again.memory, again.changed) == (forgotten.memory, False)
    restored = set_state(forgotten.memory, "active", LATER, "asked")
    assert (restored.memory.state, restored.memory.version, restored.changed) == ("active", 5, True)


def test_a_closed_version_ends_where_its_successor_begins() -> None:
    successor = new_version(EXISTING, replace(EXISTING.item, text="x"), LATER)
    assert close(EXISTING, successor) == replace(EXISTING, superseded_at=LATER)


@pytest.mark.parametrize("if_match", [None, "*", " * ", '"3"', 'W/"3"', '"1", "3"', '"1",W/"3"'])
def test_a_current_version_matches(if_match: str | None) -> None:
    assert etag(EXISTING) == '"3"'
    check_version(EXISTING, if_match)


@pytest.mark.parametrize("if_match", ['"2"', "3", "", '"33"', '"1", "2"'])
def test_another_version_does_not_match(if_match: str) -> None:
    with pytest.raises(PreconditionFailed, match="current version is 3"):
        check_version(EXISTING, if_match)


RFC_7396_EXAMPLES = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]
"""Appendix A, those whose target and patch are objects."""


@pytest.mark.parametrize(("target", "patch", "wanted"), RFC_7396_EXAMPLES)
@pytest.mark.parametrize("field", ["metadata", "frame"])
def test_a_merge_patch_does_what_the_rfc_says(
    field: str, target: dict[str, Any], patch: dict[str, Any], wanted: dict[str, Any]
) -> None:
    item = replace(Item("x", kind="fact"), **{field: target})  # type: ignore[arg-type]
    assert getattr(merge_patch(item, {field: patch}), field) == wanted


def test_null_removes_a_field_and_an_absent_field_stays() -> None:
    item = Item("x", "fact", speaker="Ann", occurred_at=NOW, metadata={"a": 1}, frame={"b": 2})
    assert merge_patch(item, {}) == item
    emptied = merge_patch(item, dict.fromkeys(("metadata", "frame", "speaker", "occurred_at")))
    assert emptied == Item("x", "fact")


def test_a_patch_on_a_frame_that_is_not_there_keeps_no_nulls() -> None:
    item = merge_patch(Item("x", "fact"), {"frame": {"a": 1, "b": None, "c": {"d": None}}})
    assert item.frame == {"a": 1, "c": {}}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
json_objects = st.dictionaries(st.sampled_from("abc"), json_values, max_size=3)


def rfc_7396(target: Any, patch: Any) -> Any:
    """The pseudo-code of section 2."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = rfc_7396(merged.get(name), value)
    return merged


@given(json_objects, json_objects)
def test_a_merge_patch_gives_what_the_rfcs_pseudo_code_gives(target: dict[str, Any], patch: dict[str, Any]) -> None:
    before = repr(target)
    assert merge_patch(Item("x", metadata=target), {"metadata": patch}).metadata == rfc_7396(target, patch)
    assert repr(target) == before
