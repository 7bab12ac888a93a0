"""A filter selects the same memories in SQLite, in the in-memory store and by a reading of its words that is naive.

The naive one works on the JSON as a caller writes it, so that the parser is held to its grammar too.
"""

import operator
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory.model import KINDS, Memory, Selection
from memory.store.inmemory import InMemoryStore
from memory.store.sql import SqlStore
from recalld.core.db import Connection, Database
from recalld.core.scope import Scope
from retrieval.filters import OPERATORS, TEXT_FIELDS, TIME_FIELDS, parse
from retrieval.passages import rows_of
from tests.conftest import NOW, Stores, make_memory

Json = dict[str, Any]

STATES = ("active", "superseded", "forgotten")
MOMENTS = [NOW + timedelta(microseconds=n) for n in (-1, 0, 1)] + [datetime(1, 1, 2, tzinfo=NOW.tzinfo)]
TEXTS = (
    *(
        "",
        "a",
        "A",
        "ab",
        "a%b",
        "%",
        "_",
        "a_",
        "1",
        "1.0",
        "true",
        "null",
        "é",
        "e\u0301",
        "ß",
        "\uffff",
        "😀",
        "a😀b",
    ),
    *("'", "' OR 1=1 --", '"', "\\", "a\nb", "\x7f", " a"),
)
NUMBERS = (0, -0.0, 1, 1.0, -1, 2.5, 0.1 + 0.2, 0.3, 2**53 + 1, float(2**53), 2**63 - 1, -(2**63), 2**63, 1e300, 10**30)
PLAIN = (None, True, False, *NUMBERS, *TEXTS)
KEYS = {
    "metadata.a": ["a"],
    "metadata.a.b": ["a", "b"],
    "metadata.a.b.c": ["a", "b", "c"],
    'metadata."a"."b"': ["a", "b"],
    'metadata."a.b"': ["a.b"],
    "metadata.b c": ["b c"],
    "metadata.it's": ["it's"],
    'metadata.q"': ['q"'],
    r'metadata."\"q\\.$[0]"': ['"q\\.$[0]'],
    "metadata.😀": ["😀"],
    'metadata.""': [""],
    "metadata.$": ["$"],
    "metadata.metadata": ["metadata"],
    "metadata.0": ["0"],
}
"""How a key is written, and which it is."""

plain = st.sampled_from(PLAIN)
stored = st.recursive(
    plain | st.sampled_from([10**400, -(10**400)]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["b", "c", "a.b"]), inner, max_size=2),
    max_leaves=4,
)
texts = st.none() | st.sampled_from([text for text in TEXTS if text])
moments = st.none() | st.sampled_from(MOMENTS)
contents = st.fixed_dictionaries(
    {
        "text": st.sampled_from(["a", "ab", "a%b", "x😀y", "A"]),
        "kind": st.sampled_from(KINDS),
        "state": st.sampled_from(STATES),
        "role": texts,
        "speaker": texts,
        "external_id": texts,
        "occurred_at": moments,
        "valid_from": moments,
        "valid_to": moments,
        "expires_at": st.sampled_from([None, NOW + timedelta(days=1)]),
        "recorded_at": st.sampled_from(MOMENTS),
        "metadata": st.dictionaries(st.sampled_from([keys[0] for keys in KEYS.values()]), stored, max_size=4),
        "scope": st.builds(Scope, st.sampled_from([None, "ann", "a"]), st.sampled_from([None, "bot"])),
    }
)


def comparisons(name: str) -> st.SearchStrategy[Json]:
    """Every operator that the field takes, with values of its type."""
    times = st.sampled_from([moment.isoformat() for moment in MOMENTS[:3]] + ["2026-03-14T10:00:00+01:00"])
    fields = st.sampled_from([*TEXTS, "turn", "fact", "active", "ann", "mem_00000000000000000000000002"])
    values = times if name in TIME_FIELDS else fields if name in TEXT_FIELDS else plain
    bounds = values.filter(lambda value: value is not None and not isinstance(value, bool))
    given: dict[str, st.SearchStrategy[Any]] = {
        **dict.fromkeys(("eq", "ne"), values | st.none()),
        "in": st.lists(values | st.none(), min_size=1, max_size=4),
        **dict.fromkeys(("gt", "gte", "lt", "lte"), bounds),
        "exists": st.booleans(),
    }
    if name not in TIME_FIELDS:
        given["contains"] = values
    alone = st.one_of(*(value.map(lambda value, name=name: {name: value}) for name, value in given.items()))
    pairs = st.fixed_dictionaries({"gte": bounds}, optional={"lt": bounds, "ne": values})
    return (alone | pairs | values | st.none()).map(lambda condition: {name: condition})


leaves = st.sampled_from([*TEXT_FIELDS, *TIME_FIELDS, *KEYS, *KEYS]).flatmap(comparisons)
filters = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"and": parts})
        | st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"or": parts})
        | inner.map(lambda part: {"not": part})
        | st.tuples(inner, inner).map(lambda parts: parts[0] | parts[1])
    ),
    max_leaves=6,
)


# --- the naive reading


def naive(wanted: Json, memory: Json) -> bool:
    """`memory` holds the fields that are there, by the names that they have in a filter."""
    truths = []
    for name, inner in wanted.items():
        if name == "and":
            truths.append(not [part for part in inner if not naive(part, memory)])
        elif name == "or":
            truths.append(bool([part for part in inner if naive(part, memory)]))
        elif name == "not":
            truths.append(not naive(inner, memory))
        else:
            conditions = inner if isinstance(inner, dict) else {"eq": inner}
            truths += [compared(name, *condition, memory) for condition in conditions.items()]
    return False not in truths


def compared(name: str, operation: str, wanted: Any, memory: Json) -> bool:
    found = [memory[name]] if name in memory else []
    for key in KEYS.get(name, []):
        found = [found[0][key]] if found and isinstance(found[0], dict) and key in found[0] else []
    if operation == "exists":
        return bool(found) == wanted
    if operation in ("eq", "ne", "in"):
        any_of = wanted if operation == "in" else [wanted]
        equal = [one for one in any_of if (one is None and not found) or (found and alike(found[0], one))]
        return bool(equal) != (operation == "ne")
    if not found:
        return False
    if operation == "contains":
        if isinstance(found[0], list):
            return any(alike(member, wanted) for member in found[0])
        return isinstance(found[0], str) and isinstance(wanted, str) and found[0].find(wanted) >= 0
    left, right = comparable(found[0]), comparable(wanted)
    compare = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}[operation]
    return left[0] == right[0] and left[0] in ("number", "text", "time") and compare(left[1], right[1])


def alike(one: Any, other: Any) -> bool:
    left, right = comparable(one), comparable(other)
    return left[0] not in ("array", "object") and left == right


def comparable(value: Any) -> tuple[str, Any]:
    """A value's type and what it is compared by; RFC 3339 text stands for its time where a time field has one."""
    if value is None or isinstance(value, bool):
        return ("null" if value is None else "boolean"), value
    if isinstance(value, int | float):
        small = -(2**63) <= value < 2**63
        return "number", value if small else float(str(value))
    if isinstance(value, datetime):
        return "time", value
    if isinstance(value, str):
        return "text", [ord(letter) for letter in value]
    return ("array" if isinstance(value, list) else "object"), value


def fields_of(memory: Memory) -> Json:
    item = memory.item
    every = {"id": memory.id, "state": memory.state, "kind": item.kind, "text": item.text}
    every |= {name: getattr(item, name) for name in ("role", "speaker", "external_id", "occurred_at", "expires_at")}
    every |= {name: getattr(memory, name) for name in ("recorded_at", "created_at", "valid_from", "valid_to")}
    every |= item.scope.given()
    return {name: value for name, value in every.items() if value is not None} | {
        name: dict(item.metadata) for name in KEYS
    }


def with_times(wanted: Any, in_time: bool = False) -> Any:
    """The filter with its times read."""
    if isinstance(wanted, dict):
        return {name: with_times(inner, in_time or name in TIME_FIELDS) for name, inner in wanted.items()}
    if isinstance(wanted, list):
        return [with_times(inner, in_time) for inner in wanted]
    return datetime.fromisoformat(wanted) if in_time and isinstance(wanted, str) else wanted


def memory_of(number: int, content: Mapping[str, Any]) -> Memory:
    given = dict(content)
    external_id = given.pop("external_id")
    return make_memory(number, external_id=external_id and f"{external_id}{number}", **given)


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.read() as connection:
        yield connection


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=150)
@given(contents=st.lists(contents, min_size=1, max_size=5), wanted=st.lists(filters, min_size=4, max_size=12))
def test_a_filter_selects_the_same_in_sql_in_memory_and_by_its_words(
    connection: Connection, contents: list[Json], wanted: list[Json]
) -> None:
    connection.rollback()
    stores = (SqlStore(connection), InMemoryStore())
    memories = [memory_of(number, content) for number, content in enumerate(contents, start=1)]
    for store in stores:
        store.insert("default", memories)
    for one in wanted:
        selection = Selection(states=STATES, filter=parse(one))
        named = with_times(one)
        expected = [memory.id for memory in memories if naive(named, fields_of(memory))]
        for store in stores:
            found = store.select("default", selection, NOW, 100)
            assert [memory.id for memory in reversed(found)] == expected, (type(store).__name__, one)
            keys = store.searchable("default", selection, NOW).columns.rows
            assert rows_of(keys).tolist() == [memory.row for memory in reversed(found)]


# --- single promises, on each store


def insert(stores: Stores, *metadata: Any, **fields: Any) -> None:
    with stores.write() as store:
        store.insert("default", [make_memory(n, metadata=each, **fields) for n, each in enumerate(metadata, start=1)])


def found(stores: Stores, wanted: Json, **fields: Any) -> list[int]:
    with stores.write() as store:
        memories = store.select("default", Selection(filter=parse(wanted), **fields), NOW, 1000)
        return [memory.row for memory in reversed(memories)]


def test_a_missing_value_is_neither_equal_nor_ordered_and_ne_and_not_are_complements(stores: Stores) -> None:
    insert(stores, {"a": 1}, {"a": 2}, {"a": "1"}, {"a": None}, {}, {"a": [1]}, {"a": {"b": 1}})
    everything = set(range(1, 8))
    for condition in ({"eq": 1}, {"gt": 1}, {"lte": 1}, {"in": [1, "1"]}, {"contains": 1}, {"exists": True}):
        here = set(found(stores, {"metadata.a": condition}))
        assert set(found(stores, {"not": {"metadata.a": condition}})) == everything - here
        assert set(found(stores, {"not": {"not": {"metadata.a": condition}}})) == here
    assert found(stores, {"metadata.a": 1}) == found(stores, {"metadata.a": 1.0}) == [1]
    assert found(stores, {"metadata.a": {"ne": 1}}) == [2, 3, 4, 5, 6, 7]
    assert found(stores, {"metadata.a": {"gte": 1}}) == [1, 2]
    assert found(stores, {"metadata.a": {"gte": ""}}) == [3]


def test_null_means_absent_or_null_and_exists_means_that_the_key_is_there(stores: Stores) -> None:
    insert(stores, {"a": None}, {}, {"a": False}, {"a": {"b": None}}, {"a": {"b": 0}}, speaker=None)
    assert found(stores, {"metadata.a": None}) == [1, 2]
    assert found(stores, {"metadata.a": {"ne": None}}) == [3, 4, 5]
    assert found(stores, {"metadata.a": {"exists": True}}) == [1, 3, 4, 5]
    assert found(stores, {"metadata.a.b": None}) == [1, 2, 3, 4]
    assert found(stores, {"metadata.a.b": {"exists": True}}) == [4, 5]
    assert found(stores, {"metadata.a": {"in": [None, False]}}) == [1, 2, 3]
    assert found(stores, {"speaker": None}) == [1, 2, 3, 4, 5]
    assert found(stores, {"speaker": {"exists": True}}) == []


def test_contains_is_a_part_of_a_text_without_wildcards_or_a_member_of_an_array(stores: Stores) -> None:
    values = ["100% sure", "100 sure", "a_b", "axb", ["%", 1, None, True], [1.0, "100% sure"], [[1]], 'say "hi\'"\\']
    insert(stores, *({"a": value} for value in values))
    assert found(stores, {"metadata.a": {"contains": "0%"}}) == [1]
    assert found(stores, {"metadata.a": {"contains": "_"}}) == [3]
    assert found(stores, {"metadata.a": {"contains": "%"}}) == [1, 5]
    assert found(stores, {"metadata.a": {"contains": "100% sure"}}) == [1, 6]
    assert found(stores, {"metadata.a": {"contains": 1}}) == [5, 6]
    assert found(stores, {"metadata.a": {"contains": True}}) == found(stores, {"metadata.a": {"contains": None}}) == [5]
    assert found(stores, {"metadata.a": {"contains": 'say "hi\'"\\'}}) == [8]
    assert found(stores, {"metadata.a": {"contains": "SURE"}}) == []
    assert found(stores, {"text": {"contains": "memory 1"}}) == [1]


def test_a_filter_narrows_scope_namespace_and_state_and_never_widens_them(stores: Stores) -> None:
    with stores.write() as store:
        scopes = (Scope("ann"), Scope("bob"), Scope())
        store.insert("default", [make_memory(n, scope=scope) for n, scope in enumerate(scopes, start=1)])
        store.insert("default", [make_memory(4, scope=Scope("ann"), state="forgotten")])
        store.insert("other", [make_memory(5, scope=Scope("ann"), namespace="other")])
    for wide in ({"id": {"exists": True}}, {"or": [{"user_id": "bob"}, {"user_id": "ann"}]}, {"state": "forgotten"}):
        assert set(found(stores, wide, scope=Scope("ann"))) <= {1}
    assert found(stores, {"user_id": "bob"}, scope=Scope("ann")) == []
    assert found(stores, {"state": "forgotten"}, states=("active", "forgotten")) == [4]


def test_the_largest_filter_that_there_may_be_is_answered(stores: Stores) -> None:
    deep = {".".join(["metadata", *"abcdefgh"]): {"in": [f"value {n}" for n in range(200)]}}
    insert(stores, {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": "value 199"}}}}}}}}, {})
    assert found(stores, {"and": [deep] * 100}) == [1]
    texts = {"text": {"in": [f"memory {n}" for n in range(200)]}}
    assert found(stores, {"or": [{"not": texts}] * 99 + [deep]}) == [1]
    nested: Json = {"metadata.a.b.c.d.e.f.g.h": "value 199"}
    for _ in range(7):
        nested = {"not": nested}
    assert found(stores, nested) == [2]


def test_every_operator_is_tried() -> None:
    """What makes the property above worth something."""
    tried: set[str] = set()

    @settings(max_examples=300, database=None)
    @given(leaves)
    def collect(wanted: Json) -> None:
        for condition in wanted.values():
            tried.update(condition if isinstance(condition, dict) else ())

    collect()
    assert tried == set(OPERATORS)
