"""`Store` over one SQLAlchemy transaction on SQLite.

Each write touches four places in that one transaction: the row, its history, its full text, and the outbox entry that
brings the vectors up to date. What the encoder sees of a turn includes the last question before it (`memory.ingest`),
so a write also puts the turn *after* it in the outbox: `_touch_successors`.

Invariant: every statement has the namespace in its condition; rows come from `memories` filtered by it.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    Row,
    and_,
    bindparam,
    delete,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy import cast as sql_cast

from memory.ingest import lexical_terms
from memory.lifecycle import close
from memory.model import (
    EVERY_CHANGE,
    Change,
    ChangeSelection,
    Erased,
    Memory,
    Recalled,
    Selection,
    StandingLink,
    Uses,
    Votes,
)
from memory.ports import Counts, OutboxEntry, Searchable
from memory.store import changes_sql, feedback_sql, fulltext, removal_sql, sessions_sql
from memory.store.column_cache import ColumnCache, direct, mark_of
from memory.store.derived_sql import DerivedRows
from memory.store.filters_sql import conditions, exact_scope_conditions, slot_conditions
from memory.store.inserts import Insert
from memory.store.postings import PostingCache
from memory.store.removal_sql import chunks
from memory.store.rows import BY_ROW, deriver_of, memory_of, values_of
from memory.store.tables import memories, outbox, sources, versions
from recalld.core.scope import Scope
from retrieval.passages import PASSAGE_BITS, rows_of
from retrieval.ports import LexicalIndex

# Of these rows the turns after them, that are none of them.
_SUCCESSORS = """
SELECT namespace, next FROM (
  SELECT m.namespace, (
    SELECT n.row FROM memories n
    WHERE n.namespace = m.namespace AND n.session_id = m.session_id
      AND n.user_id IS m.user_id AND n.agent_id IS m.agent_id
      AND n.kind = 'turn' AND n.state = 'active' AND (n.order_at, n.row) > (m.order_at, m.row)
    ORDER BY n.order_at, n.row LIMIT 1) AS next
  FROM json_each(:rows) AS each CROSS JOIN memories m ON m.row = each.value
  WHERE m.namespace = :namespace AND m.session_id IS NOT NULL AND m.kind = 'turn'
) WHERE next IS NOT NULL AND next NOT IN (SELECT value FROM json_each(:rows))
"""
_PUT = "INSERT OR REPLACE INTO outbox (namespace, row)"
_ENQUEUE = f"{_PUT} SELECT :namespace, value FROM json_each(:rows) UNION ALL {_SUCCESSORS}"
_ENQUEUE_SUCCESSORS = _PUT + _SUCCESSORS

_PREVIOUS = text("""
SELECT m.row AS row, (
    SELECT p.row FROM memories p
    WHERE p.namespace = m.namespace AND p.session_id = m.session_id
      AND p.user_id IS m.user_id AND p.agent_id IS m.agent_id
      AND p.kind = 'turn' AND p.state = 'active' AND (p.order_at, p.row) < (m.order_at, m.row)
    ORDER BY p.order_at DESC, p.row DESC LIMIT 1) AS previous
FROM memories m WHERE m.row IN :rows AND m.namespace = :namespace AND m.session_id IS NOT NULL AND m.kind = 'turn'
""").bindparams(bindparam("rows", expanding=True))


@dataclass(frozen=True, slots=True)
class Kept:
    """What recalls read again and again, kept between them in one process."""

    columns: ColumnCache = field(default_factory=ColumnCache)
    postings: PostingCache = field(default_factory=PostingCache)


_INSERT = Insert(memories, [column.name for column in memories.c if column.name != "row"])
_WAITING = select(outbox.c.row).where(outbox.c.namespace == bindparam("namespace")).order_by(outbox.c.row)


class SqlStore(DerivedRows):
    """Memories, search, ledger and what is derived, within the transaction of `connection`."""

    def __init__(self, connection: Connection, kept: Kept | None = None) -> None:
        """A store over a transaction; `kept` only for one that reads."""
        self._connection = connection
        self._kept = kept

    @property
    def connection(self) -> Connection:
        """The transaction's."""
        return self._connection

    # MemoryStore

    def insert(self, namespace: str, memories_: Sequence[Memory]) -> list[Memory]:
        if not memories_:
            return []
        analysed = [lexical_terms(memory) for memory in memories_]
        values = [
            values_of(memory) | {"namespace": namespace, "id": memory.id} | fulltext.analysed_columns(memory, terms)
            for memory, terms in zip(memories_, analysed, strict=True)
        ]
        rows = [_INSERT.one(self._connection, each) for each in values]
        kept = [
            replace(memory, row=row, sources=tuple(sorted(set(memory.sources))))
            for memory, row in zip(memories_, rows, strict=True)
        ]
        self._link(namespace, kept)
        fulltext.write(
            self._connection,
            namespace,
            [(memory.row, memory.item.scope, terms) for memory, terms in zip(kept, analysed, strict=True)],
        )
        self._enqueue(namespace, rows)
        return kept

    def replace(self, namespace: str, memory: Memory) -> None:
        here = and_(memories.c.namespace == namespace, memories.c.id == memory.id)
        current = self._read([here])[0]
        old = close(current, memory)
        values = values_of(old) | {"memory_id": old.id, "namespace": namespace, "superseded_at": old.superseded_at}
        values.pop("order_at")
        for name in ("deriver_name", "deriver_version"):
            values.pop(name)
        self._connection.execute(insert(versions), values)
        self._touch_successors(namespace, [memory.row])
        analysed = lexical_terms(memory)
        values = values_of(memory) | fulltext.analysed_columns(memory, analysed)
        self._connection.execute(update(memories).where(here).values(**values))
        if memory.deriver is not None:
            self._connection.execute(delete(sources).where(sources.c.memory_id == memory.id))
            self._link(namespace, [memory])
        fulltext.remove(self._connection, [memory.row])
        fulltext.write(self._connection, namespace, [(memory.row, memory.item.scope, analysed)])
        self._enqueue(namespace, [memory.row])

    def get(self, namespace: str, ids: Sequence[str]) -> list[Memory]:
        found = {
            memory.id: memory
            for part in chunks(ids)
            for memory in self._read([memories.c.namespace == namespace, memories.c.id.in_(part)])
        }
        return [found[memory_id] for memory_id in ids if memory_id in found]

    def find_external(self, namespace: str, scope: Scope, external_ids: Sequence[str]) -> dict[str, Memory]:
        same = [memories.c.namespace == namespace, *exact_scope_conditions(scope)]
        return {
            memory.item.external_id: memory
            for part in chunks(external_ids)
            for memory in self._read([*same, memories.c.external_id.in_(part)])
            if memory.item.external_id is not None
        }

    def select(self, namespace: str, selection: Selection, now: datetime, limit: int) -> list[Memory]:
        return self._read(_where(namespace, selection, now), limit)

    def facts(self, namespace: str, scope: Scope, slots: Sequence[str]) -> list[Memory]:
        here = [memories.c.namespace == namespace, *exact_scope_conditions(scope), *slot_conditions(slots)]
        return self._read(here)[::-1]

    def mark(self) -> object | None:
        return None if self._kept is None else mark_of(self._connection)

    def history(self, namespace: str, memory_id: str) -> list[Memory]:
        current = self.get(namespace, [memory_id])
        if not current:
            return []
        query = (
            select(versions)
            .where(versions.c.namespace == namespace, versions.c.memory_id == memory_id)
            .order_by(versions.c.version.desc())
        )
        return current + [
            replace(
                memory_of(row, current[0].id, current[0].row),
                sources=current[0].sources,
                deriver=current[0].deriver,
                superseded_at=row.superseded_at,
            )
            for row in self._connection.execute(query)
        ]

    def erase(self, namespace: str, ids: Sequence[str]) -> tuple[list[Memory], Erased]:
        doomed = self._with_derived(namespace, ids)
        gone = [memory.id for memory in doomed]
        rows = [memory.row for memory in doomed]
        self._touch_successors(namespace, rows)
        removed = removal_sql.remove(self._connection, namespace, gone, rows)
        waiting = removal_sql.leave_outbox(self._connection, rows)
        self._enqueue(namespace, rows)
        return doomed, Erased(outbox=waiting, **removed)

    # SearchStore

    def searchable(self, namespace: str, selection: Selection, now: datetime) -> Searchable:
        where = partial(_where, namespace, selection, now)
        if self._kept is None:
            found = direct(self._connection, where())
        else:
            found = self._kept.columns.columns(self._connection, namespace, selection, where, now)
        waiting = self._connection.scalars(_WAITING, {"namespace": namespace})
        pending = np.array(list(waiting), dtype=np.int64)
        if len(pending):
            at = np.minimum(np.searchsorted(found.rows, pending << PASSAGE_BITS), max(len(found.rows) - 1, 0))
            pending = pending[rows_of(found.rows[at]) == pending] if len(found.rows) else pending[:0]
        return Searchable(found, pending)

    def lexical(self, scope: Scope) -> LexicalIndex:
        return fulltext.SqliteLexicalIndex(self._connection, scope, self._kept.postings if self._kept else None)

    def load(self, namespace: str, rows: Sequence[int]) -> dict[int, Memory]:
        return {
            memory.row: memory
            for part in chunks(rows)
            for memory in self._memories(self._connection.execute(BY_ROW, {"namespace": namespace, "rows": part}))
        }

    def previous_turns(self, namespace: str, rows: Sequence[int]) -> dict[int, Memory]:
        pairs = [
            (found.row, found.previous)
            for part in chunks(rows)
            for found in self._connection.execute(_PREVIOUS, {"rows": part, "namespace": namespace})
            if found.previous is not None
        ]
        loaded = self.load(namespace, [previous for _, previous in pairs])
        return {row: loaded[previous] for row, previous in pairs}

    def session_turns(
        self, namespace: str, scope: Scope, now: datetime, limit: int, *, lasting: bool = False
    ) -> list[Memory]:
        return sessions_sql.turns(self._connection, namespace, scope, now, limit, lasting)

    def active_rows(self, namespace: str, after: int, limit: int) -> list[int]:
        here = (memories.c.namespace == namespace, memories.c.state == "active", memories.c.row > after)
        return list(self._connection.scalars(select(memories.c.row).where(*here).order_by(memories.c.row).limit(limit)))

    def outbox(self, limit: int, namespace: str | None = None, after: int = 0) -> list[OutboxEntry]:
        query = select(outbox).where(outbox.c.number > after).order_by(outbox.c.number).limit(limit)
        if namespace is not None:
            query = query.where(outbox.c.namespace == namespace)
        return [OutboxEntry(row.number, row.namespace, row.row) for row in self._connection.execute(query)]

    def waiting_namespaces(self) -> list[str]:
        return list(self._connection.scalars(select(outbox.c.namespace).distinct().order_by(outbox.c.namespace)))

    def newest_entry(self) -> int:
        return self._connection.scalar(select(func.max(outbox.c.number))) or 0

    def finish(self, entries: Sequence[OutboxEntry]) -> None:
        for part in chunks([entry.number for entry in entries]):
            self._connection.execute(delete(outbox).where(outbox.c.number.in_(part)))

    # Ledger

    def record_change(self, change: Change) -> None:
        changes_sql.record(self._connection, change)

    def record_recall(self, namespace: str, recall_id: str, at: datetime, scope: Scope, ids: Sequence[str]) -> None:
        feedback_sql.record(self._connection, namespace, recall_id, at, scope, ids)

    def recalled(self, namespace: str, recall_id: str) -> Recalled | None:
        return feedback_sql.recalled(self._connection, namespace, recall_id)

    def vote(self, namespace: str, recall_id: str, memory_id: str, useful: bool | None, at: datetime) -> None:
        feedback_sql.vote(self._connection, namespace, recall_id, memory_id, useful, at)

    def feedback(self, namespace: str, memory_id: str | None = None) -> dict[int, Votes]:
        return feedback_sql.votes(self._connection, namespace, memory_id)

    def uses(self, namespace: str, rows: Sequence[int]) -> dict[int, Uses]:
        return feedback_sql.uses(self._connection, namespace, rows)

    def changes(self, namespace: str, limit: int, wanted: ChangeSelection = EVERY_CHANGE) -> list[Change]:
        return changes_sql.find(self._connection, namespace, limit, wanted)

    def change(self, namespace: str, change_id: str) -> Change | None:
        return changes_sql.one(self._connection, namespace, change_id)

    def mark_undone(self, namespace: str, change_id: str, by: str | None) -> None:
        changes_sql.mark_undone(self._connection, namespace, change_id, by)

    def decided(self, namespace: str, digests: Sequence[str]) -> frozenset[str]:
        return changes_sql.decided(self._connection, namespace, digests)

    def undone(self, namespace: str) -> frozenset[str]:
        return changes_sql.undone(self._connection, namespace)

    def links(self, namespace: str, memory_ids: Sequence[str], known_at: datetime | None = None) -> list[StandingLink]:
        return changes_sql.links(self._connection, namespace, memory_ids, known_at)

    def counts(self, namespace: str) -> Counts:
        m = memories.c
        size = func.coalesce(func.sum(func.length(sql_cast(m.text, LargeBinary))), 0)
        by_state = select(m.state, func.count(), size).where(m.namespace == namespace).group_by(m.state)
        states = self._connection.execute(by_state).all()
        old = select(func.count()).select_from(versions).where(versions.c.namespace == namespace)
        waiting = select(func.count()).select_from(outbox).where(outbox.c.namespace == namespace)
        return Counts(
            {row[0]: row[1] for row in states},
            self._connection.scalar(old) or 0,
            sum(int(row[2]) for row in states),
            self._connection.scalar(waiting) or 0,
        )

    def waiting(self) -> int:
        return self._connection.scalar(select(func.count()).select_from(outbox)) or 0

    def mark_for_indexing(self, namespace: str, rows: Sequence[int]) -> None:
        """Put rows in the outbox, and the turns after them."""
        self._touch_successors(namespace, rows)
        self._enqueue(namespace, rows)

    # inside

    def _read(self, where: Iterable[Any], limit: int | None = None) -> list[Memory]:
        query = select(memories).where(*where).order_by(memories.c.row.desc())
        return self._memories(self._connection.execute(query.limit(limit) if limit is not None else query))

    def _memories(self, found: Iterable[Row[Any]]) -> list[Memory]:
        rows = list(found)
        derived = [row.id for row in rows if row.deriver_name is not None]
        origins = self._sources_of(derived)
        return [memory_of(row, row.id, row.row, tuple(origins.get(row.id, ())), deriver_of(row)) for row in rows]

    def _link(self, namespace: str, derived: Sequence[Memory]) -> None:
        links = [
            {"memory_id": memory.id, "source_id": source, "namespace": namespace}
            for memory in derived
            for source in memory.sources
        ]
        if links:
            self._connection.execute(insert(sources), links)

    def _sources_of(self, ids: Sequence[str]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for part in chunks(ids):
            query = select(sources.c.memory_id, sources.c.source_id).where(sources.c.memory_id.in_(part))
            for row in self._connection.execute(query.order_by(sources.c.source_id)):
                found.setdefault(row.memory_id, []).append(row.source_id)
        return found

    def _with_derived(self, namespace: str, ids: Sequence[str]) -> list[Memory]:
        """The memories and everything derived from them, however far."""
        doomed = {memory.id: memory for memory in self.get(namespace, ids)}
        edge = list(doomed)
        while edge:
            links = [
                found
                for part in chunks(edge)
                for found in self._connection.scalars(
                    select(sources.c.memory_id).where(sources.c.namespace == namespace, sources.c.source_id.in_(part))
                )
            ]
            fresh = self.get(namespace, [found for found in dict.fromkeys(links) if found not in doomed])
            doomed |= {memory.id: memory for memory in fresh}
            edge = [memory.id for memory in fresh]
        return list(doomed.values())

    def _enqueue(self, namespace: str, rows: Sequence[int]) -> None:
        """Put rows and the turns after them in the outbox, anew where they were: an entry at work must not count for
        this write."""
        self._connection.exec_driver_sql(_ENQUEUE, {"rows": json.dumps(list(rows)), "namespace": namespace})

    def _touch_successors(self, namespace: str, rows: Sequence[int]) -> None:
        self._connection.exec_driver_sql(_ENQUEUE_SUCCESSORS, {"rows": json.dumps(list(rows)), "namespace": namespace})


def _where(namespace: str, selection: Selection, now: datetime) -> list[ColumnElement[bool]]:
    found = conditions(namespace, selection, now)
    if selection.text is not None:
        found.append(fulltext.holds_all(namespace, selection.scope, selection.text))
    return found
