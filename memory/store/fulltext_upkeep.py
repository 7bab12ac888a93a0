"""Full text compared with SQL, and written again from it: `recalld verify` and `recalld reindex`.

Rows are rewritten a batch a transaction, so full text answers all the while; a rebuild that is killed has lost nothing
and is simply run again.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select, text, update

from memory.ingest import lexical_terms
from memory.store import fulltext
from memory.store.sql import SqlStore
from memory.store.tables import memories
from retrieval.passages import PASSAGE_BITS, PASSAGES_MAX, passage_of, row_of

# CROSS JOIN keeps the order: the other way round the whole table is read for each row.
_ENTRIES = text(f"""
SELECT f.rowid, f.tags, f.body FROM json_each(:rows) AS each
CROSS JOIN memory_fts AS f
  ON f.rowid BETWEEN each.value << {PASSAGE_BITS} AND (each.value << {PASSAGE_BITS}) + {PASSAGES_MAX - 1}
""")
_ORPHANS = text(f"""
SELECT DISTINCT rowid >> {PASSAGE_BITS} FROM memory_fts
WHERE rowid >> {PASSAGE_BITS} NOT IN (SELECT row FROM memories) LIMIT :limit
""")


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
    here = (memories.c.namespace == namespace, memories.c.row.in_(rows))
    m = memories.c
    kept = connection.execute(select(m.row, m.terms, m.passages, m.traits).where(*here)).mappings()
    analysed = {entry["row"]: {name: entry[name] for name in ("terms", "passages", "traits")} for entry in kept}
    entries = connection.execute(_ENTRIES, {"rows": json.dumps(rows)})
    found: dict[int, dict[int, tuple[str, str]]] = {row: {} for row in rows}
    for number, tags, body in entries:
        found[row_of(number)][passage_of(number)] = tags, body
    missing, stale = [], []
    for row, memory in sorted(SqlStore(connection).load(namespace, rows).items()):
        terms = lexical_terms(memory)
        wanted = dict(enumerate(fulltext.expected(namespace, memory.item.scope, terms)))
        if wanted.keys() - found[row].keys():
            missing.append(row)
        elif found[row] != wanted or analysed[row] != fulltext.analysed_columns(memory, terms):
            stale.append(row)
    return Batch(tuple(rows), tuple(missing), tuple(stale))


def rewrite(connection: Connection, namespace: str, after: int, limit: int) -> list[int]:
    """Write the full text of the next rows above `after` again; returns them."""
    rows = _rows(connection, namespace, after, limit)
    loaded = SqlStore(connection).load(namespace, rows)
    analysed = {row: lexical_terms(memory) for row, memory in loaded.items()}
    fulltext.remove(connection, rows)
    fulltext.write(connection, namespace, [(row, loaded[row].item.scope, terms) for row, terms in analysed.items()])
    for row, terms in analysed.items():
        here = (memories.c.namespace == namespace, memories.c.row == row)
        connection.execute(update(memories).where(*here).values(**fulltext.analysed_columns(loaded[row], terms)))
    return rows


def orphans(connection: Connection, limit: int = 500) -> list[int]:
    """Memory rows that full text has and SQL has not."""
    return list(connection.scalars(_ORPHANS, {"limit": limit}))


def remove(connection: Connection, rows: Sequence[int]) -> int:
    """Take memories out of full text; returns how many passages were there."""
    return fulltext.remove(connection, rows)


def _rows(connection: Connection, namespace: str, after: int, limit: int) -> list[int]:
    here = (memories.c.namespace == namespace, memories.c.row > after)
    return list(connection.scalars(select(memories.c.row).where(*here).order_by(memories.c.row).limit(limit)))


def count(connection: Connection) -> int:
    """How many memories there are, in every namespace."""
    return connection.scalar(select(func.count()).select_from(memories)) or 0
