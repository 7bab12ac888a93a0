"""Cached columns and posting lists against SQL read afresh, by value, while several processes write.

Two databases on one file stand for two processes: each has its own cache, and neither is told what the other commits.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from memory.lifecycle import new_version
from memory.model import Item, Selection
from memory.store import column_cache, fulltext
from memory.store.column_cache import ColumnCache, mark_of
from memory.store.postings import PostingCache
from memory.store.sql import Kept, SqlStore
from recalld.core.db import Connection, Database
from recalld.core.scope import EVERYTHING, Scope
from retrieval.corpus import Columns
from retrieval.filters import parse
from tests.conftest import NOW, long_text, make_memory

HOUR = timedelta(hours=1)
SCOPES = (Scope(), Scope("ann"), Scope("ann", session_id="s"), Scope("bob", "bot"), Scope("bob", session_id="s"))
SELECTIONS = (
    *(Selection(scope) for scope in SCOPES),
    Selection(Scope("nobody")),
    Selection(kinds=("document", "fact")),
    Selection(states=("forgotten",)),
    Selection(states=("active", "forgotten"), kinds=("turn",)),
    Selection(as_of=NOW - HOUR),
    Selection(known_at=NOW + timedelta(seconds=3)),
    Selection(filter=parse({"speaker": "Ann"})),
    Selection(Scope("ann"), filter=parse({"not": {"kind": "document"}})),
    Selection(text="dog"),
)
TERMS = ("dog", "park", "tea", "zebra")
items = st.builds(
    Item,
    st.sampled_from(["dog", "dog dog park", "tea for the dog", long_text("dog", "tea"), "nothing"]),
    st.sampled_from(["turn", "document", "fact"]),
    st.sampled_from([None, "user", "assistant"]),
    st.sampled_from([None, "Ann", "Bob", ""]),
    st.sampled_from([None, NOW - 2 * HOUR, NOW]),
    scope=st.sampled_from(SCOPES),
    expires_at=st.sampled_from([None, None, NOW + HOUR, NOW + 3 * HOUR]),
)
steps = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "edit", "forget", "erase", "rewrite", "trim", "begin", "end", "look", "look"]),
        st.integers(0, 1),
        st.integers(0, 9),
        st.lists(items, min_size=1, max_size=3),
        st.sampled_from(SELECTIONS),
        st.sampled_from([NOW, NOW + 2 * HOUR, NOW + 9 * HOUR]),
    ),
    min_size=4,
    max_size=18,
)


def told(columns: Columns) -> dict[str, Any]:
    """Every column by value; of sessions which rows are in one."""
    _, first, sessions = np.unique(columns.sessions, return_index=True, return_inverse=True)
    return {
        **{
            name: getattr(columns, name).tolist()
            for name in ("rows", "lengths", "replies", "documents", "traits", "moments")
        },
        "speakers": list(columns.speakers),
        "sessions": first[sessions].tolist(),
    }


def scores(index: fulltext.SqliteLexicalIndex, columns: Columns, namespace: str) -> list[Any]:
    found = index.score(namespace, TERMS, columns.rows, columns.lengths)
    return [found.scores.tolist(), found.terms, found.rarity.tolist(), [places.tolist() for places in found.places]]


def look(connection: Connection, kept: Kept, namespace: str, selection: Selection, now: datetime) -> None:
    cached = SqlStore(connection, kept).searchable(namespace, selection, now)
    fresh = SqlStore(connection).searchable(namespace, selection, now)
    assert told(cached.columns) == told(fresh.columns)
    assert cached.pending.tolist() == fresh.pending.tolist()
    index = fulltext.SqliteLexicalIndex(connection, selection.scope, kept.postings)
    afresh = fulltext.SqliteLexicalIndex(connection, selection.scope)
    assert scores(index, cached.columns, namespace) == scores(afresh, fresh.columns, namespace)


@pytest.fixture
def processes(database: Database) -> Iterator[list[Database]]:
    other = Database(f"sqlite:///{database.file}")
    yield [database, other]
    other.close()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_whoever_writes_every_reader_sees_its_own_moment(
    processes: list[Database], monkeypatch: pytest.MonkeyPatch, steps: Any
) -> None:
    monkeypatch.setattr(fulltext, "_KEPT_ROWS_MIN", 0)
    monkeypatch.setattr(column_cache, "TOUCHED_MAX", 2)
    kept = [Kept(ColumnCache(direct_rows_max=0), PostingCache()) for _ in processes]
    with processes[0].write() as connection:
        everything = connection.scalars(text("SELECT id FROM memories")).all()
        SqlStore(connection).erase("n", list(everything))
    ids: list[str] = []
    begun: list[Connection] = []
    with ExitStack() as open_:
        for step, who, number, several, selection, now in steps:
            with ExitStack() as writing:
                if step in ("add", "edit", "forget", "erase", "rewrite", "trim"):
                    connection = writing.enter_context(processes[who].write())
                    change(connection, step, ids, number, several)
            if step == "begin" and not begun:
                begun.append(open_.enter_context(processes[who].read()))
                mark_of(begun[0])
            if step == "look":
                with processes[who].read() as connection:
                    look(connection, kept[who], "n", selection, now)
                    look(connection, kept[who], "elsewhere", selection, now)
            for connection in begun:
                look(connection, kept[0], "n", selection, now)


def change(connection: Connection, step: str, ids: list[str], number: int, several: list[Item]) -> None:
    store = SqlStore(connection)
    if step == "add":
        highest = connection.scalar(text("SELECT seq FROM sqlite_sequence WHERE name = 'memories'")) or 0
        fresh = [
            replace(make_memory(highest + place, namespace="n"), item=item) for place, item in enumerate(several, 1)
        ]
        ids += [memory.id for memory in store.insert("n", fresh)]
        other = replace(fresh[0], id=f"{fresh[0].id}-e", namespace="elsewhere")
        store.insert("elsewhere", [other])
    elif step == "trim":
        column_cache.trim(connection)
    elif ids:
        chosen = store.get("n", [ids[number % len(ids)]])[0]
        if step == "edit" and number == 0:
            other = store.get("elsewhere", [f"{chosen.id}-e"])
            for memory in other:
                store.replace("elsewhere", new_version(memory, several[0], NOW))
        elif step == "edit":
            store.replace("n", new_version(chosen, several[0], NOW))
        elif step == "forget":
            state = "active" if chosen.state == "forgotten" else "forgotten"
            store.replace("n", replace(chosen, state=state, version=chosen.version + 1))
        elif step == "erase":
            ids.remove(chosen.id)
            store.erase("n", [chosen.id])
        else:
            connection.execute(text("UPDATE memories SET traits = traits | 4 WHERE row = :row"), {"row": chosen.row})


def filled(database: Database, count: int, namespace: str = "n") -> None:
    with database.write() as connection:
        highest = connection.scalar(text("SELECT seq FROM sqlite_sequence WHERE name = 'memories'")) or 0
        made = [
            make_memory(highest + n, f"dog {n}", namespace=namespace, scope=Scope("ann")) for n in range(1, count + 1)
        ]
        SqlStore(connection).insert(namespace, made)


def statements(database: Database, act: Callable[[Connection], object]) -> list[str]:
    """What a read transaction asks SQL."""
    asked: list[str] = []
    with database.read() as connection:
        raw = connection.connection.dbapi_connection
        assert raw is not None
        raw.set_trace_callback(asked.append)  # type: ignore[attr-defined]
        act(connection)
        raw.set_trace_callback(None)  # type: ignore[attr-defined]
    return [statement for statement in asked if "memories" in statement and "json_group_array" in statement]


def test_a_second_recall_reads_no_column(database: Database) -> None:
    filled(database, 30)
    kept = Kept(ColumnCache(direct_rows_max=0))

    def ask(connection: Connection) -> Any:
        return SqlStore(connection, kept).searchable("n", Selection(Scope("ann")), NOW)

    assert len(statements(database, ask)) == 1
    assert statements(database, ask) == []
    filled(database, 1, "elsewhere")
    assert ['"row" > ' in statement for statement in statements(database, ask)] == [True]
    assert statements(database, ask) == []


def test_columns_that_did_not_change_are_the_same_object_with_what_was_worked_out_of_them(database: Database) -> None:
    filled(database, 5)
    kept = Kept(ColumnCache(direct_rows_max=0))
    found = []
    for _ in range(2):
        with database.read() as connection:
            found.append(SqlStore(connection, kept).searchable("n", Selection(), NOW).columns)
        filled(database, 1, "elsewhere")
    assert found[0] is found[1]
    assert found[0].memo is found[1].memo
    assert not found[0].rows.flags.writeable
    assert found[0].rows.base is None


def test_few_rows_are_read_without_reading_the_namespace(database: Database) -> None:
    filled(database, 30)
    with database.write() as connection:
        SqlStore(connection).insert("n", [make_memory(99, "cat", namespace="n", scope=Scope("bob"))])
    kept = Kept(ColumnCache(direct_rows_max=10))
    with database.read() as connection:
        found = SqlStore(connection, kept).searchable("n", Selection(Scope("bob")), NOW)
    assert len(found.columns.rows) == 1
    assert kept.columns.bytes_memory == 0


def test_namespaces_that_were_not_used_for_longest_leave_memory(database: Database) -> None:
    names = [f"n{number}" for number in range(4)]
    for name in names:
        filled(database, 20, name)
    cache = ColumnCache(direct_rows_max=0)
    with database.read() as connection:
        SqlStore(connection, Kept(cache)).searchable(names[0], Selection(), NOW)
    one = cache.bytes_memory
    small = ColumnCache(bytes_max=2 * one, direct_rows_max=0)
    with database.read() as connection:
        for name in names:
            SqlStore(connection, Kept(small)).searchable(name, Selection(), NOW)
            assert 0 < small.bytes_memory <= 2 * one
            look(connection, Kept(small), names[0], Selection(), NOW)


def test_posting_lists_leave_memory_and_change_nothing(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fulltext, "_KEPT_ROWS_MIN", 0)
    filled(database, 50)
    postings = PostingCache(bytes_max=600)
    kept: Mapping[str, Any] = {"columns": ColumnCache(direct_rows_max=0), "postings": postings}
    for _ in range(3):
        with database.read() as connection:
            for scope in (EVERYTHING, Scope("ann")):
                look(connection, Kept(**kept), "n", Selection(scope), NOW)
                assert postings.bytes_memory <= 2 * 600
