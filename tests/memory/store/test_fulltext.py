"""What the full-text table holds: analysed terms with their counts, and tags that keep tenants apart."""

from collections.abc import Iterator

import numpy as np
import pytest
from sqlalchemy import text

from memory.store import fulltext
from memory.store.sql import SqlStore
from recalld.core.db import Connection, Database
from recalld.core.scope import EVERYTHING, Scope
from retrieval.analysis import terms
from retrieval.passages import PASSAGE_BITS, row_of
from tests.conftest import make_memory

MARK = "\ue000"


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.read() as connection:
        yield connection


def table(connection: Connection) -> dict[int, tuple[str, str]]:
    """By row, of memories of one passage."""
    found = connection.execute(text("SELECT rowid, tags, body FROM memory_fts"))
    return {row_of(number): (tags, body) for number, tags, body in found}


def rows_of(connection: Connection, namespace: str, scope: Scope, term: str, among: int = 9) -> list[int]:
    allowed = np.arange(1, among + 1) << PASSAGE_BITS
    index = fulltext.SqliteLexicalIndex(connection, scope)
    found = index.search(namespace, [term], 10, allowed, np.ones(among, dtype=np.int32)).rows
    return list(map(row_of, found.tolist()))


def test_a_body_holds_each_term_once_for_each_time_up_to_the_cap(connection: Connection) -> None:
    fulltext.write(connection, "n", [(4, EVERYTHING, [["dog", "cat", "dog"] + ["x"] * 40])])
    levels = ["x", *(f"x{MARK}{level}" for level in range(2, 9))]
    assert table(connection)[4] == (fulltext.tags("n", EVERYTHING)[0], " ".join(["dog", f"dog{MARK}2", "cat", *levels]))
    assert table(connection)[4] == fulltext.expected("n", EVERYTHING, [["dog", "cat", "dog"] + ["x"] * 40])[0]


def test_a_mark_in_a_text_is_no_count(connection: Connection) -> None:
    assert terms(f"dog{MARK}2 {MARK}") == ["dog", "2"]


def test_a_row_written_again_replaces_what_was_there(connection: Connection) -> None:
    fulltext.write(connection, "n", [(1, EVERYTHING, [["dog"]])])
    fulltext.write(connection, "n", [(1, Scope("ann"), [["cat"]])])
    assert (rows_of(connection, "n", EVERYTHING, "dog"), rows_of(connection, "n", Scope("ann"), "cat")) == ([], [1])
    assert len(table(connection)) == 1


def test_tags_tell_the_namespace_and_each_field_apart() -> None:
    every = [
        fulltext.tags(namespace, scope)
        for namespace in ("a", "b")
        for scope in (Scope(), Scope("a"), Scope("b"), Scope(agent_id="a"), Scope(session_id="a"), Scope("a", "a", "a"))
    ]
    assert [len(tags) for tags in every] == [1, 2, 2, 2, 2, 4] * 2
    assert len({tag for tags in every for tag in tags}) == 2 + 2 * 4
    assert all(tag.isascii() and tag.isalnum() for tags in every for tag in tags)


def test_a_search_touches_its_own_namespace_and_scope(connection: Connection) -> None:
    scopes = [Scope("ann"), Scope("bob"), Scope("ann", "bot"), Scope()]
    fulltext.write(connection, "n", [(row, scope, [["dog"]]) for row, scope in enumerate(scopes, start=1)])
    fulltext.write(connection, "m", [(5, Scope("ann"), [["dog"]])])
    assert rows_of(connection, "n", EVERYTHING, "dog") == [1, 2, 3, 4]
    assert rows_of(connection, "n", Scope("ann"), "dog") == [1, 3]
    assert rows_of(connection, "n", Scope("ann", "bot"), "dog") == [3]
    assert rows_of(connection, "m", EVERYTHING, "dog") == [5]
    assert rows_of(connection, "n", EVERYTHING, "dog", among=2) == [1, 2]


def test_a_tag_is_no_word_and_a_word_no_tag(connection: Connection) -> None:
    tag = fulltext.tags("n", EVERYTHING)[0]
    fulltext.write(connection, "n", [(1, EVERYTHING, [["dog"]]), (2, EVERYTHING, [[tag]])])
    fulltext.write(connection, "m", [(3, EVERYTHING, [[tag]])])
    assert rows_of(connection, "n", EVERYTHING, tag) == [2]


def test_remove_tells_how_many_there_were(connection: Connection) -> None:
    fulltext.write(connection, "n", [(row, EVERYTHING, [["dog"]]) for row in range(1, 1203)])
    assert fulltext.remove(connection, range(2, 5000)) == 1201
    assert list(table(connection)) == [1]
    assert fulltext.remove(connection, [2]) == fulltext.remove(connection, []) == 0


def test_a_change_of_a_memory_changes_its_full_text(database: Database) -> None:
    with database.write() as connection:
        kept = SqlStore(connection).insert("n", [make_memory(1, "The dogs", namespace="n", speaker="Ann")])[0]
        assert table(connection)[kept.row] == fulltext.expected("n", EVERYTHING, [["ann", "the", "dog"]])[0]
        SqlStore(connection).erase("n", [kept.id])
        assert table(connection) == {}
