"""SQLite's full text gives what the in-memory BM25 gives, by value: rows, order, scores to 1e-5, terms.

The texts are any Unicode, so that what FTS5's tokenizer would change in a term shows. The statistics are those of the
searched rows, so nothing else that the table holds may change a figure.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory.store import fulltext
from recalld.core.db import Connection, Database
from recalld.core.scope import EVERYTHING, Scope
from retrieval.analysis import query_terms, terms
from retrieval.lexical_memory import COUNT_MAX, InMemoryLexicalIndex
from retrieval.passages import key
from retrieval.ports import LexicalHits, LexicalIndex

SCOPES = [Scope(), Scope("ann"), Scope("ann", "bot", "s"), Scope("bob", session_id="s"), Scope("u'\" AND é")]

words = st.sampled_from(
    ["dog", "Dogs", "the", "Porto", "naïve", "東京タワー", "हिन्दी", "👍🏽", "x²", "1,000", "ab:cd*", '"', "AND"]
)
texts = st.lists(words | st.text(max_size=8), max_size=20).map(" ".join)
documents = st.lists(st.tuples(st.sampled_from(SCOPES), texts), max_size=8)
queries = st.lists(words | st.text(max_size=6), min_size=1, max_size=5).map(" ".join)


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    """A transaction that is thrown away, and begun anew by `fresh`."""
    with database.read() as connection:
        yield connection


def fresh(connection: Connection) -> Connection:
    connection.rollback()
    return connection


def fill(connection: Connection, namespace: str, kept: dict[int, tuple[Scope, str]]) -> None:
    fulltext.write(connection, namespace, [(row, scope, [terms(text)]) for row, (scope, text) in kept.items()])


def exact(namespace: str, scope: Scope, kept: dict[int, tuple[Scope, str]]) -> LexicalIndex:
    """The reference, holding the rows of `scope`."""
    index = InMemoryLexicalIndex()
    for row, (its, text) in kept.items():
        if scope.covers(its):
            index.add(namespace, key(row), terms(text))
    return index


def searched(
    index: LexicalIndex, namespace: str, query: Sequence[str], kept: dict[int, tuple[Scope, str]], limit: int = 100
) -> LexicalHits:
    keys = np.array([key(row) for row in sorted(kept)], dtype=np.int64)
    lengths = np.array([len(terms(kept[row][1])) for row in sorted(kept)], dtype=np.int32)
    return index.search(namespace, query, limit, keys, lengths)


def figures(found: LexicalHits) -> list[object]:
    return [found.terms, *(column.tolist() for column in (found.rows, found.scores, found.rarity, found.holds))]


def assert_same(one: LexicalHits, other: LexicalHits) -> None:
    assert one.rows.tolist() == other.rows.tolist()
    assert one.scores.dtype == other.scores.dtype == np.float32
    assert one.scores == pytest.approx(other.scores, abs=1e-5)
    assert one.terms == other.terms
    assert one.rarity == pytest.approx(other.rarity, abs=1e-6)
    assert one.holds.shape == (len(one.terms), len(one.rows))
    assert one.holds.tolist() == other.holds.tolist()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(documents=documents, others=documents, query=queries, scope=st.sampled_from(SCOPES), limit=st.integers(1, 9))
def test_sqlite_gives_what_comparing_everything_gives(
    connection: Connection, documents: Any, others: Any, query: str, scope: Scope, limit: int
) -> None:
    kept = {3 * number + 1: document for number, document in enumerate(documents)}
    fill(fresh(connection), "n", kept)
    allowed = {row: document for row, document in kept.items() if scope.covers(document[0])}
    index = fulltext.SqliteLexicalIndex(connection, scope)
    before = searched(index, "n", query_terms(query), allowed, limit)
    assert_same(before, searched(exact("n", scope, kept), "n", query_terms(query), allowed, limit))
    fill(connection, "other", {3 * number + 2: document for number, document in enumerate(others)})
    fill(connection, "n", {3 * number + 3: document for number, document in enumerate(others)})
    after = searched(index, "n", query_terms(query), allowed, limit)
    assert figures(before) == figures(after)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(text=st.text(min_size=1, max_size=60))
def test_every_term_of_a_text_finds_it(connection: Connection, text: str) -> None:
    kept = {1: (EVERYTHING, text), 2: (EVERYTHING, "another one")}
    fill(fresh(connection), "n", kept)
    for term in set(terms(text)):
        found = searched(fulltext.SqliteLexicalIndex(connection, EVERYTHING), "n", [term], kept)
        assert key(1) in found.rows.tolist(), term


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 500])
def test_a_repeated_word_counts_up_to_the_cap(connection: Connection, count: int) -> None:
    kept = {1: (EVERYTHING, "dog " * count), 2: (EVERYTHING, "dog cat"), 3: (EVERYTHING, "cat")}
    fill(connection, "n", kept)
    found = searched(fulltext.SqliteLexicalIndex(connection, EVERYTHING), "n", ["dog"], kept)
    assert_same(found, searched(exact("n", EVERYTHING, kept), "n", ["dog"], kept))
    assert COUNT_MAX == 8
    assert found.rows.tolist() == [key(1), key(2)]


def test_a_query_as_long_as_a_text_may_be_is_answered_by_value(connection: Connection) -> None:
    query = [f"w{number}" for number in range(128)] + ["dog"] * 3
    kept = {1: (EVERYTHING, " ".join(query)), 2: (EVERYTHING, "dog"), 3: (EVERYTHING, "w1 w2 w3")}
    fill(connection, "n", kept)
    found = searched(fulltext.SqliteLexicalIndex(connection, EVERYTHING), "n", query, kept)
    assert_same(found, searched(exact("n", EVERYTHING, kept), "n", query, kept))
    assert sorted(found.rows.tolist()) == [key(1), key(2), key(3)]
