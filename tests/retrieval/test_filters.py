"""The grammar of filters: what is none is refused with the path of what is wrong and its limit, whatever it is.

What a filter means is compared by value in `tests/contract/test_filters.py`.
"""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recalld.core.errors import InvalidInput
from retrieval.filter_match import holds
from retrieval.filters import (
    COMPARISONS_MAX,
    DEPTH_MAX,
    IN_VALUES_MAX,
    KEYS_MAX,
    OPERATORS,
    TEXT_BYTES_MAX,
    TEXT_FIELDS,
    TIME_FIELDS,
    All,
    AnyOf,
    Comparison,
    Filter,
    Not,
    parse,
)

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)


def metadata(operation: Any, *values: Any, keys: tuple[str, ...] = ("a",)) -> Comparison:
    return Comparison("metadata", keys, operation, values)


def test_a_filter_is_read_into_its_parts() -> None:
    one, two = metadata("in", 1), metadata("in", 2)
    assert parse({"metadata.a": 1}) == parse({"metadata.a": {"eq": 1}}) == one
    assert parse({"metadata.a": {"ne": 1}}) == parse({"not": {"metadata.a": 1}}) == Not(one)
    assert parse({"and": [{"metadata.a": 1}, {"metadata.a": 2}]}) == All((one, two))
    assert parse({"or": [{"metadata.a": 1}]}) == AnyOf((one,))
    assert parse({"metadata.a": {"in": [1, 2]}}) == metadata("in", 1, 2)
    assert parse({"metadata.a": {"exists": False}}) == Not(metadata("exists"))
    assert parse({"metadata.a": {"gt": 1, "lte": 2}}) == All((metadata("gt", 1), metadata("lte", 2)))
    mixed = {"kind": "turn", "or": [{"metadata.a": 1}, {"metadata.a": 2}], "not": {"metadata.a": 1}}
    assert parse(mixed) == All((Comparison("kind", (), "in", ("turn",)), AnyOf((one, two)), Not(one)))


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("metadata.a", ("a",)),
        ("metadata.a.b.c", ("a", "b", "c")),
        ('metadata."a.b".c', ("a.b", "c")),
        ('metadata.c."a.b"', ("c", "a.b")),
        ('metadata.""', ("",)),
        (r'metadata."\"a\\"', ('"a\\',)),
        ('metadata.a"b', ('a"b',)),
        ("metadata. a ", (" a ",)),
        ("metadata.😀", ("😀",)),
        (r'metadata."\ud83d\ude00"', ("😀",)),
        ("metadata.it's", ("it's",)),
        ("metadata.a\nb", ("a\nb",)),
        ('metadata."a\nb"', ("a\nb",)),
        ("metadata.metadata", ("metadata",)),
        ("metadata.[0]", ("[0]",)),
    ],
)
def test_a_key_is_what_it_says_and_one_with_a_dot_is_quoted(name: str, keys: tuple[str, ...]) -> None:
    assert parse({name: 1}) == metadata("in", 1, keys=keys)


def test_times_are_read_to_utc() -> None:
    for told in ("2026-03-14T12:00:00Z", "2026-03-14t13:30:00.000+01:30", "2026-03-14 12:00:00z"):
        for field in TIME_FIELDS:
            assert parse({field: told}) == Comparison(field, (), "in", (NOON,))
    assert parse({"metadata.a": "2026-03-14T12:00:00Z"}) == metadata("in", "2026-03-14T12:00:00Z")


WRONG: list[tuple[Any, str, Any]] = [
    (None, "filter", None),
    ([], "filter", None),
    ("kind", "filter", None),
    ({}, "filter", 1),
    ({"and": []}, "filter.and", 1),
    ({"or": []}, "filter.or", 1),
    ({"or": {}}, "filter.or", 1),
    ({"and": None}, "filter.and", 1),
    ({"and": [{"kind": "turn"}, {}]}, "filter.and.1", 1),
    ({"and": [{"kind": "turn"}, {"metadata.topic": {"gt": None}}]}, "filter.and.1.metadata.topic.gt", None),
    ({"not": []}, "filter.not", None),
    ({"not": {"or": [{"kind": 1}]}}, "filter.not.or.0.kind", None),
    ({"knid": "turn"}, "filter.knid", None),
    ({"": "turn"}, "filter.", None),
    ({"namespace": "other"}, "filter.namespace", None),
    ({"metadata": {"a": 1}}, "filter.metadata", None),
    ({"metadata.": 1}, "filter.metadata.", None),
    ({"metadata..a": 1}, "filter.metadata..a", None),
    ({"metadata.a.": 1}, "filter.metadata.a.", None),
    ({'metadata."a': 1}, 'filter.metadata."a', None),
    ({'metadata."a"b': 1}, 'filter.metadata."a"b', None),
    ({r'metadata."\x"': 1}, r'filter.metadata."\x"', None),
    ({r'metadata."\ud800"': 1}, r'filter.metadata."\ud800"', None),
    ({r'metadata."\u0000"': 1}, r'filter.metadata."\u0000"', None),
    ({"metadata.a\ud800": 1}, "filter.metadata.a?", None),
    ({"kind.a": "turn"}, "filter.kind.a", None),
    ({"kind": {}}, "filter.kind", 1),
    ({"kind": {"like": "t%"}}, "filter.kind.like", None),
    ({"kind": ["turn"]}, "filter.kind", None),
    ({"kind": {"in": "turn"}}, "filter.kind.in", IN_VALUES_MAX),
    ({"kind": {"in": []}}, "filter.kind.in", IN_VALUES_MAX),
    ({"kind": {"in": ["turn", 7]}}, "filter.kind.in.1", None),
    ({"metadata.a": {"in": [[1]]}}, "filter.metadata.a.in.0", None),
    ({"metadata.a": {"in": [1] * (IN_VALUES_MAX + 1)}}, "filter.metadata.a.in", IN_VALUES_MAX),
    ({"metadata.a": [1]}, "filter.metadata.a", None),
    ({"metadata.a": {"eq": {"b": 1}}}, "filter.metadata.a.eq", None),
    ({"metadata.a": {"gt": True}}, "filter.metadata.a.gt", None),
    ({"metadata.a": {"contains": [1]}}, "filter.metadata.a.contains", None),
    ({"metadata.a": {"exists": 1}}, "filter.metadata.a.exists", None),
    ({"metadata.a": {"exists": None}}, "filter.metadata.a.exists", None),
    ({"text": {"contains": None}}, "filter.text.contains", None),
    ({"text": {"contains": 1}}, "filter.text.contains", None),
    ({"occurred_at": {"contains": "2026-03-14T12:00:00Z"}}, "filter.occurred_at.contains", None),
    ({"occurred_at": "2026-03-14T12:00:00"}, "filter.occurred_at", None),
    ({"occurred_at": {"gt": "2026-03-14"}}, "filter.occurred_at.gt", None),
    ({"occurred_at": {"gt": 1773478800}}, "filter.occurred_at.gt", None),
    ({"occurred_at": {"lt": None}}, "filter.occurred_at.lt", None),
    ({"expires_at": "2026-02-30T00:00:00Z"}, "filter.expires_at", None),
    ({"expires_at": "0001-01-01T00:00:00+00:01"}, "filter.expires_at", None),
    ({"metadata.a": float("nan")}, "filter.metadata.a", None),
    ({"metadata.a": float("-inf")}, "filter.metadata.a", None),
    ({"metadata.a": {"lt": 10**400}}, "filter.metadata.a.lt", None),
    ({"metadata.a": "\ud800"}, "filter.metadata.a", None),
    ({"metadata.a": {"contains": "a\x00"}}, "filter.metadata.a.contains", None),
    ({"text": "é" * (TEXT_BYTES_MAX // 2) + "a"}, "filter.text", TEXT_BYTES_MAX),
    ({"metadata." + "a" * TEXT_BYTES_MAX: 1}, "filter.metadata." + "a" * 91, TEXT_BYTES_MAX),
    ({"metadata" + ".a" * (KEYS_MAX + 1): 1}, "filter.metadata" + ".a" * (KEYS_MAX + 1), KEYS_MAX),
    ({7: 1}, "filter.7", None),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_what_is_no_filter_is_refused_by_path_and_limit(number: int) -> None:
    wanted, field, limit = WRONG[number]
    with pytest.raises(InvalidInput) as refused:
        parse(wanted)
    assert [(error.field, error.limit) for error in refused.value.fields] == [(field, limit)]


def nested(levels: int) -> dict[str, Any]:
    wanted: dict[str, Any] = {"kind": "turn"}
    for _ in range(levels - 1):
        wanted = {"not": wanted}
    return wanted


def test_depth_and_number_of_comparisons_are_bounded_however_they_are_spread() -> None:
    parse(nested(DEPTH_MAX))
    for wanted in (nested(DEPTH_MAX + 1), nested(5_000)):
        with pytest.raises(InvalidInput, match=rf"nested at most {DEPTH_MAX} deep"):
            parse(wanted)
    one = {"kind": "turn"}
    parse({"or": [one] * COMPARISONS_MAX})
    many: tuple[dict[str, Any], ...] = (
        {"or": [one] * (COMPARISONS_MAX + 1)},
        {"and": [{"or": [one] * 11}] * 10},
        {f"metadata.k{n}": n for n in range(COMPARISONS_MAX + 1)},
        {"or": [one] * 1_000_000},
    )
    for wanted in many:
        with pytest.raises(InvalidInput, match=rf"at most {COMPARISONS_MAX} comparisons") as refused:
            parse(wanted)
        assert refused.value.fields[0].limit == COMPARISONS_MAX


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text() | st.sampled_from(["and", "or", "not", "metadata.a", *OPERATORS, *TEXT_FIELDS, *TIME_FIELDS]),
            inner,
            max_size=3,
        )
    ),
)


def read(data: Any) -> Filter | InvalidInput:
    try:
        return parse(data)
    except InvalidInput as error:
        return error


@settings(max_examples=300)
@given(json_values)
def test_any_json_is_a_filter_or_a_clear_error(data: Any) -> None:
    found = read(data)
    if isinstance(found, InvalidInput):
        assert [error.field.split(".")[0] for error in found.fields] == ["filter"]
        assert found.detail.encode().startswith(b"filter")
    else:
        assert holds(found, lambda name: {} if name == "metadata" else None) in (True, False)
