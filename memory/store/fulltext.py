"""Full text on SQLite's FTS5, written in the transaction of the add, scored by our own BM25.

FTS5 only finds rows; it never ranks. Its `bm25()` has fixed constants, counts every tenant's rows, and costs 60 times
the match itself on a shared table. So the table holds *analysed* terms and two kinds of addition:

- tags: one term for the namespace and one for each scope field in it, ANDed into every match, so that a match touches
  the caller's own rows;
- counts: a term that stands n times in a row is also kept as `term:2` ... `term:n` (n <= 8; U+E000 stands where the
  colon is, which FTS5 keeps inside a token and analysis never emits), so that term frequencies are read from posting
  lists and the text itself never is.

Source: https://www.sqlite.org/fts5.html (sections 3.1, 4.3.1); Robertson and Zaragoza, "The Probabilistic Relevance
Framework: BM25 and Beyond" (2009), for the score, which is `retrieval.lexical_memory`'s.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, bindparam, false, literal_column, select, text

from memory.store.tables import memories
from recalld.core.scope import Scope
from retrieval.analysis import query_terms
from retrieval.lexical_memory import COUNT_MAX, hits
from retrieval.ports import LexicalHits, Rows

_MARK = "\ue000"
_INSERT = text("INSERT OR REPLACE INTO memory_fts (rowid, tags, body) VALUES (:row, :tags, :body)")
_DELETE = text("DELETE FROM memory_fts WHERE rowid IN :rows").bindparams(bindparam("rows", expanding=True))
_MATCH = text("SELECT rowid FROM memory_fts WHERE memory_fts MATCH :match")
# Many matches in one statement, all rows of one in one value: to read them one by one took longer than to find them.
_MATCHES = text("""
SELECT (SELECT json_group_array(rowid) FROM memory_fts WHERE memory_fts MATCH each.value)
FROM json_each(:wanted) AS each ORDER BY each.key
""")


def write(connection: Connection, namespace: str, rows: Iterable[tuple[int, Scope, Sequence[str]]]) -> None:
    """Index rows by their analysed terms, in place of what was indexed of them."""
    values = [
        {"row": row, "tags": " ".join(tags(namespace, scope)), "body": _body(terms)} for row, scope, terms in rows
    ]
    if values:
        connection.execute(_INSERT, values)


def remove(connection: Connection, rows: Sequence[int]) -> int:
    """Take rows out; returns how many were there."""
    return sum(
        connection.execute(_DELETE, {"rows": list(rows[start : start + 500])}).rowcount
        for start in range(0, len(rows), 500)
    )


def expected(namespace: str, scope: Scope, terms: Sequence[str]) -> tuple[str, str]:
    """The tags and body that a row should have."""
    return " ".join(tags(namespace, scope)), _body(terms)


def tags(namespace: str, scope: Scope) -> list[str]:
    """The terms that stand for a namespace and for each given field of a scope within it."""
    named = [("n", ""), *((name[0], value) for name, value in scope.given().items())]
    key = hashlib.blake2b(namespace.encode(), digest_size=32).digest()
    return [letter + hashlib.blake2b(value.encode(), digest_size=10, key=key).hexdigest() for letter, value in named]


def holds_all(namespace: str, scope: Scope, words: str) -> ColumnElement[bool]:
    """The condition that a memory holds every word of `words` (analysed); punctuation alone matches nothing."""
    wanted = list(dict.fromkeys(query_terms(words)))
    if not wanted:
        return false()
    match = " AND ".join([_tagged(namespace, scope), *(f'body : "{term}"' for term in wanted)])
    found = _MATCH.bindparams(match=match).columns(literal_column("rowid"))
    return memories.c.row.in_(select(found.subquery().c[0]))


class SqliteLexicalIndex:
    """`LexicalIndex` as the transaction of `connection` sees it, for queries within `scope`."""

    def __init__(self, connection: Connection, scope: Scope) -> None:
        self._connection = connection
        self._scope = scope

    def search(
        self, namespace: str, terms: Sequence[str], limit: int, allowed: Rows, lengths: NDArray[np.int32]
    ) -> LexicalHits:
        """The best rows by BM25 with the statistics of `allowed`; see `LexicalIndex`."""
        weights = Counter(terms)
        frequencies = self._frequencies(namespace, list(weights), allowed)
        return hits(list(zip(frequencies, weights.values(), strict=True)), allowed, lengths, limit)

    def _frequencies(self, namespace: str, terms: Sequence[str], allowed: Rows) -> list[NDArray[np.int32]]:
        """How often each term stands in each of `allowed`, at most `COUNT_MAX`: a statement a level."""
        frequencies = [np.zeros(len(allowed), dtype=np.int32) for _ in terms]
        tagged = _tagged(namespace, self._scope)
        left = list(range(len(terms)))
        for level in range(1, COUNT_MAX + 1):
            wanted = [f'{tagged} AND body : "{_counted(terms[number], level)}"' for number in left]
            found = list(self._connection.scalars(_MATCHES, {"wanted": json.dumps(wanted)}))
            held = [_places(np.array(json.loads(rows), dtype=np.int64), allowed) for rows in found]
            for number, places in zip(left, held, strict=True):
                frequencies[number][places] = level
            left = [number for number, places in zip(left, held, strict=True) if len(places)]
            if not left:
                break
        return frequencies


def _places(found: Rows, allowed: Rows) -> NDArray[np.intp]:
    """Where in `allowed` those of `found` are that it holds; both are ascending."""
    places = np.searchsorted(allowed, found)
    inside = places < len(allowed)
    held: NDArray[np.intp] = places[inside][allowed[places[inside]] == found[inside]]
    return held


def _tagged(namespace: str, scope: Scope) -> str:
    """The tags to match: a field's tag says its namespace as well, and a tag costs as much as it has rows."""
    of_namespace, *of_fields = tags(namespace, scope)
    return " AND ".join(f'tags : "{tag}"' for tag in of_fields or [of_namespace])


def _counted(term: str, level: int) -> str:
    """The indexed word that says that a row has `term` at least `level` times."""
    return term if level == 1 else f"{term}{_MARK}{level}"


def _body(terms: Sequence[str]) -> str:
    counted = Counter(terms)
    levels = [_counted(term, level) for term, count in counted.items() for level in range(1, min(count, COUNT_MAX) + 1)]
    return " ".join(levels)
