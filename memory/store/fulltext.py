"""Full text on SQLite's FTS5, written in the transaction of the add, scored by our own BM25.

FTS5 only finds rows; it never ranks. Its `bm25()` has fixed constants, counts every tenant's rows, and costs 60 times
the match itself on a shared table. So the table holds *analysed* terms, a row a passage under its key
(`retrieval.passages`), and two kinds of addition:

- tags: one term for the namespace and one for each scope field in it, ANDed into every match, so that a match touches
  the caller's own rows, and one that tells the passages of long texts apart;
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
from functools import partial

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, false, literal_column, select, text

from memory.ingest import row_traits
from memory.model import Memory
from memory.store.column_cache import mark_of, touched_since
from memory.store.postings import PostingCache
from memory.store.tables import memories
from recalld.core.scope import Scope
from retrieval.analysis import query_terms
from retrieval.lexical_memory import COUNT_MAX, hits
from retrieval.passages import PASSAGE_BITS, PASSAGES_MAX, key
from retrieval.ports import LexicalHits, LexicalScores, Rows

_MARK = "\ue000"
_INSERT = "INSERT OR REPLACE INTO memory_fts (rowid, tags, body) VALUES (?, ?, ?)"
_DELETE = text("DELETE FROM memory_fts WHERE rowid BETWEEN :first AND :last")
# Memories with a passage that matches, or with passages that match each of several.
_HOLDING = text(f"""
SELECT rowid >> {PASSAGE_BITS} AS row FROM memory_fts WHERE memory_fts MATCH :together
UNION ALL
SELECT f.rowid >> {PASSAGE_BITS}
FROM json_each(:apart) AS each JOIN memory_fts AS f ON f.memory_fts MATCH each.value
GROUP BY f.rowid >> {PASSAGE_BITS} HAVING count(DISTINCT each.key) = :count
""")
# Many matches in one statement, all rows of one in one value: to read them one by one took longer than to find them.
_MATCHES = text("""
SELECT (
  SELECT json_group_array(rowid) FROM memory_fts
  WHERE memory_fts MATCH each.value ->> 0 AND rowid >= CAST(each.value ->> 1 AS INTEGER)
) FROM json_each(:wanted) AS each ORDER BY each.key
""")
# Fewer rows are looked up faster than they are kept.
_KEPT_ROWS_MIN = 2000


def write(connection: Connection, namespace: str, rows: Iterable[tuple[int, Scope, Sequence[Sequence[str]]]]) -> None:
    """Index memories that are not there by the analysed terms of each of their passages."""
    values = [
        (key(row, number), tagged, body)
        for row, scope, terms in rows
        for number, (tagged, body) in enumerate(expected(namespace, scope, terms))
    ]
    if values:
        connection.exec_driver_sql(_INSERT, values)


def remove(connection: Connection, rows: Sequence[int]) -> int:
    """Take memories out, all their passages; returns how many passages were there."""
    ranges = [{"first": key(row), "last": key(row, PASSAGES_MAX - 1)} for row in rows]
    return connection.execute(_DELETE, ranges).rowcount if ranges else 0


def expected(namespace: str, scope: Scope, terms: Sequence[Sequence[str]]) -> list[tuple[str, str]]:
    """The tags and body that each passage of a memory should have."""
    tagged = " ".join([*tags(namespace, scope), *([_split_tag(namespace)] if len(terms) > 1 else [])])
    return [(tagged, _body(passage)) for passage in terms]


def analysed_columns(memory: Memory, terms: Sequence[Sequence[str]]) -> dict[str, int | str | None]:
    """The columns of `memories` that are read off its text: terms, those of each passage, traits."""
    lengths = [len(passage) for passage in terms]
    return {
        "terms": sum(lengths),
        "passages": json.dumps(lengths) if len(lengths) > 1 else None,
        "traits": row_traits(memory),
    }


def tags(namespace: str, scope: Scope) -> list[str]:
    """The terms that stand for a namespace and for each given field of a scope within it."""
    named = [("n", ""), *((name[0], value) for name, value in scope.given().items())]
    return [_tag(namespace, letter, value) for letter, value in named]


def holds_all(namespace: str, scope: Scope, words: str) -> ColumnElement[bool]:
    """The condition that a memory holds every word of `words` (analysed), each in any of its passages.

    Punctuation alone matches nothing.
    """
    wanted = list(dict.fromkeys(query_terms(words)))
    if not wanted:
        return false()
    tagged, bodies = _tagged(namespace, scope), [f'body : "{term}"' for term in wanted]
    split = f'{tagged} AND tags : "{_split_tag(namespace)}"'
    found = _HOLDING.bindparams(
        together=" AND ".join([tagged, *bodies]),
        apart=json.dumps([f"{split} AND {body}" for body in bodies]),
        count=len(wanted),
    )
    return memories.c.row.in_(select(found.columns(literal_column("row")).subquery().c[0]))


class SqliteLexicalIndex:
    """`LexicalIndex` as the transaction of `connection` sees it, for queries within `scope`."""

    def __init__(self, connection: Connection, scope: Scope, kept: PostingCache | None = None) -> None:
        self._connection = connection
        self._scope = scope
        self._kept = kept

    def search(
        self, namespace: str, terms: Sequence[str], limit: int, allowed: Rows, lengths: NDArray[np.int32]
    ) -> LexicalHits:
        """The best rows by BM25 with the statistics of `allowed`; see `LexicalIndex`."""
        return hits(self.score(namespace, terms, allowed, lengths), allowed, limit)

    def score(self, namespace: str, terms: Sequence[str], allowed: Rows, lengths: NDArray[np.int32]) -> LexicalScores:
        """BM25 of all rows in `allowed`; see `LexicalIndex`."""
        weights = dict(Counter(terms))
        mark = mark_of(self._connection)
        many = len(allowed) >= _KEPT_ROWS_MIN
        kept = self._kept if self._kept is not None and many else PostingCache()
        # Where most rows of the table are searched, what a tag would leave out costs less than the tag.
        most = many and 2 * len(allowed) > mark.row
        tagged = "" if most else f"{_tagged(namespace, self._scope)} AND "

        def read(after: Sequence[tuple[str, int]]) -> Sequence[tuple[Rows, NDArray[np.uint8]]]:
            return self._postings(tagged, after)

        since = partial(touched_since, self._connection, namespace)
        return kept.score(namespace, self._scope, weights, allowed, lengths, mark, since, read)

    def _postings(self, tagged: str, after: Sequence[tuple[str, int]]) -> list[tuple[Rows, NDArray[np.uint8]]]:
        """The keys behind a memory row that hold each term, and how often, at most `COUNT_MAX`: a statement a level.

        Args:
            tagged: what else a row must match. Others do no harm: they are not among those that are searched.
        """
        found = [(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.uint8)) for _ in after]
        left = list(range(len(after)))
        for level in range(1, COUNT_MAX + 1):
            wanted = [
                [f'{tagged}body : "{_counted(after[number][0], level)}"', key(after[number][1] + 1)] for number in left
            ]
            held = [_keys(listed) for listed in self._connection.scalars(_MATCHES, {"wanted": json.dumps(wanted)})]
            for number, keys in zip(left, held, strict=True):
                if level == 1:
                    found[number] = np.sort(keys), np.ones(len(keys), dtype=np.uint8)
                else:
                    every, counts = found[number]
                    counts[np.searchsorted(every, keys)] = level
            left = [number for number, keys in zip(left, held, strict=True) if len(keys)]
            if not left:
                break
        return found


def _keys(listed: str) -> Rows:
    """The numbers of a JSON array: read as JSON, they would be Python's first."""
    keys: Rows = (
        np.fromstring(listed[1:-1], dtype=np.int64, sep=",") if len(listed) > 2 else np.zeros(0, dtype=np.int64)
    )
    return keys


def _tag(namespace: str, letter: str, value: str) -> str:
    secret = hashlib.blake2b(namespace.encode(), digest_size=32).digest()
    return letter + hashlib.blake2b(value.encode(), digest_size=10, key=secret).hexdigest()


def _split_tag(namespace: str) -> str:
    """The term that stands in every passage of a memory that has several."""
    return _tag(namespace, "p", "")


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
