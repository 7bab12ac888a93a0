"""Full text compared with SQL, and written again from it: `recalld verify` and `recalld reindex`.

Rows are rewritten a batch a transaction, each row replaced in one statement, so full text answers all the while; a
rebuild that is killed has lost nothing and is simply run again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, func, select, text, update

from memory.ingest import lexical_terms
from memory.store import fulltext
from memory.store.sql import SqlStore
from memory.store.tables import memories

_ENTRIES = text(
    "SELECT f.rowid, f.tags, f.body, m.terms FROM memory_fts f JOIN memories m ON m.row = f.rowid "
    "WHERE f.rowid IN :rows"
).bindparams(bindparam("rows", expanding=True))
_ORPHANS = text("SELECT rowid FROM memory_fts WHERE rowid NOT IN (SELECT row FROM memories) LIMIT :limit")


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of a namespace's rows, in every state, and which of them full text lacks or has otherwise."""

    rows: tuple[int, ...]
    missing: tuple[int, ...]
    stale: tuple[int, ...]


def compare(connection: Connection, namespace: str, after: int, limit: int) -> Batch | None:
    """Compare the next rows above `after`; None where there are no more."""
    rows = _rows(connection, namespace, after, limit)
    if not rows:
        return None
    found = {entry[0]: (entry[1], entry[2], entry[3]) for entry in connection.execute(_ENTRIES, {"rows": rows})}
    wanted = {}
    for row, memory in SqlStore(connection).load(namespace, rows).items():
        terms = lexical_terms(memory)
        wanted[row] = (*fulltext.expected(namespace, memory.item.scope, terms), len(terms))
    missing = tuple(row for row in rows if row not in found)
    return Batch(tuple(rows), missing, tuple(row for row in rows if row in found and found[row] != wanted[row]))


def rewrite(connection: Connection, namespace: str, after: int, limit: int) -> list[int]:
    """Write the full text of the next rows above `after` again; returns them."""
    rows = _rows(connection, namespace, after, limit)
    loaded = SqlStore(connection).load(namespace, rows)
    analysed = {row: lexical_terms(memory) for row, memory in loaded.items()}
    fulltext.write(connection, namespace, [(row, loaded[row].item.scope, terms) for row, terms in analysed.items()])
    for row, terms in analysed.items():
        here = (memories.c.namespace == namespace, memories.c.row == row)
        connection.execute(update(memories).where(*here).values(terms=len(terms)))
    return rows


def orphans(connection: Connection, limit: int = 500) -> list[int]:
    """Rows of full text that no memory has."""
    return list(connection.scalars(_ORPHANS, {"limit": limit}))


def remove(connection: Connection, rows: Sequence[int]) -> int:
    """Take rows out of full text; returns how many were there."""
    return fulltext.remove(connection, rows)


def _rows(connection: Connection, namespace: str, after: int, limit: int) -> list[int]:
    here = (memories.c.namespace == namespace, memories.c.row > after)
    return list(connection.scalars(select(memories.c.row).where(*here).order_by(memories.c.row).limit(limit)))


def count(connection: Connection) -> int:
    """How many memories there are, in every namespace."""
    return connection.scalar(select(func.count()).select_from(memories)) or 0
