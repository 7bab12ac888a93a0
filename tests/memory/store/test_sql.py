"""The SQL store beyond its contract: what is written comes back as it was, in any number, and without table scans."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError

from memory.lifecycle import new_version
from memory.model import Deriver, Item, Memory, Selection
from memory.store.removal_sql import CHUNK
from memory.store.sql import SqlStore
from memory.store.tables import memories
from recalld.core.db import Connection, Database
from recalld.core.scope import Scope
from tests.conftest import NOW, make_memory

MANY = 2 * CHUNK + 1

written = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30)
moments = st.none() | st.datetimes(timezones=st.just(UTC))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | written,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(written, inner, max_size=3),
    max_leaves=6,
)
json_objects = st.dictionaries(written, json_values, max_size=3)
items = st.builds(
    Item,
    text=written,
    kind=st.sampled_from(["turn", "document", "summary", "fact"]),
    role=st.none() | written,
    speaker=st.none() | written,
    occurred_at=moments,
    external_id=st.none() | written,
    metadata=json_objects,
    scope=st.builds(Scope, st.none() | written, st.none() | written, st.none() | written),
    expires_at=moments,
    frame=st.none() | json_objects,
)


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.read() as connection:
        yield connection


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(item=items, later=items, valid_from=moments, valid_to=moments)
def test_every_field_comes_back_as_it_was_written(
    connection: Connection, item: Item, later: Item, valid_from: datetime | None, valid_to: datetime | None
) -> None:
    connection.rollback()
    store = SqlStore(connection)
    fresh = replace(make_memory(1), item=item, valid_from=valid_from, valid_to=valid_to)
    first = store.insert("default", [fresh])[0]
    assert store.get("default", [first.id]) == [first] == [replace(fresh, row=1)]
    assert repr(store.get("default", [first.id])[0].item.metadata) == repr(dict(item.metadata))
    second = new_version(first, later, NOW)
    store.replace("default", second)
    assert store.history("default", first.id) == [second, replace(first, superseded_at=NOW)]


def test_any_number_of_rows_and_ids_is_one_call(connection: Connection) -> None:
    store = SqlStore(connection)
    kept = store.insert("default", [make_memory(n, external_id=f"e{n}", scope=Scope("a")) for n in range(1, MANY + 1)])
    ids = [memory.id for memory in kept]
    rows = [memory.row for memory in kept]
    assert store.get("default", ids[::-1]) == kept[::-1]
    assert store.load("default", rows) == dict(zip(rows, kept, strict=True))
    assert len(store.find_external("default", Scope("a"), [f"e{n}" for n in range(1, MANY + 1)])) == MANY
    entries = store.outbox(10_000)
    store.finish(entries)
    assert (len(entries), store.waiting()) == (MANY, 0)
    gone, removed = store.erase("default", ids)
    assert (len(gone), removed.memories, removed.fulltext, store.get("default", ids)) == (MANY, MANY, MANY, [])


def test_a_cascade_of_any_depth_and_width_is_erased(connection: Connection) -> None:
    def derived(number: int, source: int) -> Memory:
        return make_memory(number, sources=(f"mem_{source:026d}",), deriver=Deriver("rules", "1"))

    store = SqlStore(connection)
    store.insert("default", [make_memory(1), *(derived(n, n - 1) for n in range(2, 40))])
    store.insert("default", [derived(n, 39) for n in range(40, 40 + MANY)])
    gone, removed = store.erase("default", [make_memory(1).id])
    assert (len(gone), removed.memories, removed.sources) == (39 + MANY, 39 + MANY, 38 + MANY)


def test_a_source_that_loops_is_erased_once(connection: Connection) -> None:
    store = SqlStore(connection)
    ring = [f"mem_{number:026d}" for number in (1, 2)]
    store.insert(
        "default",
        [
            make_memory(1, sources=(ring[1],), deriver=Deriver("rules", "1")),
            make_memory(2, sources=(ring[0], ring[1]), deriver=Deriver("rules", "1")),
        ],
    )
    gone, removed = store.erase("default", ring[:1])
    assert (len(gone), removed.sources) == (2, 3)


def test_sources_come_back_sorted_and_once(connection: Connection) -> None:
    store = SqlStore(connection)
    fresh = make_memory(1, sources=("mem_b", "mem_a", "mem_b"), deriver=Deriver("rules", "1"))
    kept = store.insert("default", [fresh])
    assert kept[0].sources == ("mem_a", "mem_b")
    assert store.get("default", [fresh.id]) == kept


@pytest.mark.parametrize("scope", [Scope(), Scope("ann"), Scope("ann", "bot", "s")])
def test_an_external_id_is_unique_in_its_exact_scope(connection: Connection, scope: Scope) -> None:
    store = SqlStore(connection)
    store.insert("default", [make_memory(1, external_id="e", scope=scope)])
    store.insert("default", [make_memory(2, external_id="e", scope=Scope("bob"))])
    store.insert("other", [make_memory(3, external_id="e", scope=scope, namespace="other")])
    with pytest.raises(IntegrityError, match="uq_memories_external_id"):
        store.insert("default", [make_memory(4, external_id="e", scope=scope)])


def test_an_empty_write_is_no_write(connection: Connection) -> None:
    store = SqlStore(connection)
    assert store.insert("default", []) == []
    assert store.erase("default", []) == store.erase("default", ["mem_nobody"])
    store.finish([])
    assert (store.get("default", []), store.load("default", []), store.previous_turns("default", [])) == ([], {}, {})
    assert store.waiting() == 0


def plans(connection: Connection, act: Any) -> list[str]:
    """The steps of SQLite's plans for what `act` runs."""
    ran: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if not many:
            ran.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", note)
    act()
    event.remove(connection, "before_cursor_execute", note)
    return [
        str(step[3])
        for statement, parameters in ran
        for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
    ]


def test_no_read_or_write_scans_the_rows_of_other_namespaces(connection: Connection) -> None:
    store = SqlStore(connection)
    scope = Scope("ann", "bot", "s")
    kept = store.insert("default", [make_memory(n, scope=scope, external_id=f"e{n}") for n in range(1, 4)])
    rows = [memory.row for memory in kept]
    acts = {
        "get": lambda: store.get("default", [kept[0].id]),
        "load": lambda: store.load("default", rows),
        "previous": lambda: store.previous_turns("default", rows),
        "external": lambda: store.find_external("default", scope, ["e1"]),
        "select": lambda: store.select("default", Selection(scope=Scope(session_id="s")), NOW, 3),
        "derived": lambda: store.select("default", Selection(source_id=kept[0].id), NOW, 3),
        "searchable": lambda: store.searchable("default", Selection(), NOW),
        "active": lambda: store.active_rows("default", 0, 10),
        "replace": lambda: store.replace("default", new_version(kept[0], replace(kept[0].item, text="x"), NOW)),
        "history": lambda: store.history("default", kept[0].id),
        "recalled": lambda: store.recalled("default", "rec_1"),
        "vote": lambda: store.vote("default", "rec_1", kept[1].id, True, NOW),
        "feedback": lambda: store.feedback("default"),
        "feedback on one": lambda: store.feedback("default", kept[1].id),
        "erase": lambda: store.erase("default", [kept[0].id]),
    }
    for name, act in acts.items():
        steps = plans(connection, act)
        assert steps, name
        assert [step for step in steps if re.match("SCAN (?!memory_fts|voted$|json_each |each )", step)] == [], name
        if name == "external":
            assert "INDEX uq_memories_external_id (namespace=? AND external_id=?" in steps[0]


def test_votes_are_read_before_the_memories_that_have_them(connection: Connection) -> None:
    """A recall without votes must not read its namespace for them."""
    store = SqlStore(connection)
    store.insert("default", [make_memory(n) for n in range(1, 300)])
    connection.execute(text("ANALYZE"))
    steps = [step for step in plans(connection, lambda: store.feedback("default")) if "feedback" in step or "(" in step]
    assert "feedback USING COVERING INDEX ix_feedback_namespace (namespace=?)" in steps[0]
    assert re.search(r"memories USING INDEX \S+ \(id=\?\)", steps[1])


def test_deleted_text_does_not_stay_in_the_file(database: Database) -> None:
    secret = "xylophone-quartz"
    with database.write() as connection:
        store = SqlStore(connection)
        store.insert("default", [make_memory(n, f"{secret} {n} " + "filler " * 50) for n in range(1, 60)])
    with database.write() as connection:
        store = SqlStore(connection)
        store.erase("default", [make_memory(n).id for n in range(1, 60)])
        assert connection.execute(memories.select()).all() == []
    with database.write() as connection:
        connection.execute(text("INSERT INTO memory_fts(memory_fts) VALUES ('optimize')"))
    database.close()
    assert secret.encode() not in database.file.read_bytes()
    assert b"xylophon" not in database.file.read_bytes()


@pytest.mark.parametrize(
    ("lasting", "index"), [(False, "ix_memories_namespace_session_id"), (True, "ix_memories_lasting")]
)
@pytest.mark.parametrize("scope", [Scope(session_id="s"), Scope("ann", "bot", "s")])
def test_a_sessions_newest_turns_are_read_from_the_end_of_an_index(
    connection: Connection, scope: Scope, lasting: bool, index: str
) -> None:
    """Nothing is sorted, so that it costs the same however long the session is."""
    store = SqlStore(connection)
    steps = plans(connection, lambda: store.session_turns("default", scope, NOW, 3, lasting=lasting))
    assert steps == [f"SEARCH memories USING INDEX {index} (namespace=? AND session_id=?)"]
