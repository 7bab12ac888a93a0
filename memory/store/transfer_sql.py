"""Memories that leave and arrive with all of their versions, and how far each import is.

Invariant: every statement that reads memories has the namespace in its condition, but for `foreign`, which only says
that an id is taken elsewhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Column, Connection, Integer, Table, Text, delete, insert, select, update

from memory.model import Change, Memory, Selection
from memory.store import changes_sql
from memory.store.filters_sql import conditions
from memory.store.removal_sql import chunks
from memory.store.rows import memory_of, values_of
from memory.store.sql import SqlStore
from memory.store.tables import changes, memories, versions
from recalld.core.db import Json, UtcTime, metadata
from recalld.core.scope import SCOPE_FIELDS, Scope

imports = Table(
    "imports",
    metadata,
    Column("id", Text, primary_key=True),
    Column("namespace", Text, nullable=False),
    Column("user_id", Text),
    Column("agent_id", Text),
    Column("session_id", Text),
    Column("offset", Integer, nullable=False),
    Column("line", Integer, nullable=False),
    Column("options", Json, nullable=False),
    Column("counts", Json, nullable=False),
    Column("started_at", UtcTime, nullable=False),
)
_BEGINNING_OF_TIME = datetime.min.replace(tzinfo=UTC)


def page(connection: Connection, namespace: str, selection: Selection, after: int, limit: int) -> list[Memory]:
    """The next memories above a row, in the order of their arrival, expired ones too."""
    where = [*conditions(namespace, selection, _BEGINNING_OF_TIME), memories.c.row > after]
    rows = list(connection.scalars(select(memories.c.row).where(*where).order_by(memories.c.row).limit(limit)))
    loaded = SqlStore(connection).load(namespace, rows)
    return [loaded[row] for row in rows if row in loaded]


def histories(connection: Connection, namespace: str, current: Sequence[Memory]) -> dict[str, list[Memory]]:
    """The older versions of each of these memories, newest first."""
    by_id = {memory.id: memory for memory in current}
    found: dict[str, list[Memory]] = {memory_id: [] for memory_id in by_id}
    for part in chunks(list(by_id)):
        query = select(versions).where(versions.c.namespace == namespace, versions.c.memory_id.in_(part))
        for row in connection.execute(query.order_by(versions.c.memory_id, versions.c.version.desc())):
            now = by_id[row.memory_id]
            old = memory_of(row, now.id, now.row, now.sources, now.deriver)
            found[now.id].append(replace(old, superseded_at=row.superseded_at))
    return found


def changes_after(connection: Connection, namespace: str, after: int, limit: int) -> list[tuple[int, Change]]:
    """The next decisions above a number, oldest first."""
    query = select(changes).where(changes.c.namespace == namespace, changes.c.number > after)
    found = connection.execute(query.order_by(changes.c.number).limit(limit)).all()
    return [(change.number, change) for change in changes_sql.with_memories(connection, found)]


def foreign(connection: Connection, namespace: str, ids: Sequence[str]) -> set[str]:
    """Which of these ids another namespace has."""
    return {
        found
        for part in chunks(ids)
        for found in connection.scalars(
            select(memories.c.id).where(memories.c.id.in_(part), memories.c.namespace != namespace)
        )
    }


def adopt(connection: Connection, namespace: str, arrived: Sequence[tuple[Memory, Sequence[Memory]]]) -> list[Memory]:
    """Keep memories that are not here, each with its older versions. Returns them with their rows."""
    kept = SqlStore(connection).insert(namespace, [memory for memory, _ in arrived])
    old = [
        {name: value for name, value in values_of(version).items() if name not in _ONLY_CURRENT}
        | {"memory_id": version.id, "namespace": namespace, "superseded_at": version.superseded_at}
        for _, history in arrived
        for version in history
    ]
    if old:
        connection.execute(insert(versions), old)
    return kept


def known_changes(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Which of these decisions are here."""
    return {
        found
        for part in chunks(ids)
        for found in connection.scalars(select(changes.c.id).where(changes.c.id.in_(part)))
    }


def begin(
    connection: Connection, import_id: str, namespace: str, bound: Scope, options: Mapping[str, bool], at: datetime
) -> None:
    """Keep that an import is to be carried out."""
    named = dict(zip(SCOPE_FIELDS, bound.values(), strict=True))
    values = {"id": import_id, "namespace": namespace, "offset": 0, "line": 0, "counts": {}, "started_at": at}
    connection.execute(insert(imports).values(**values, options=dict(options), **named))


def load(connection: Connection, import_id: str) -> Any | None:
    """How far an import is; None where it is over."""
    return connection.execute(select(imports).where(imports.c.id == import_id)).first()


def unfinished(connection: Connection) -> list[str]:
    """Imports that are to go on, oldest first."""
    return list(connection.scalars(select(imports.c.id).order_by(imports.c.started_at, imports.c.id)))


def save(connection: Connection, import_id: str, **values: Any) -> None:
    """Keep how far it is."""
    connection.execute(update(imports).where(imports.c.id == import_id).values(**values))


def end(connection: Connection, import_id: str) -> None:
    """It is over."""
    connection.execute(delete(imports).where(imports.c.id == import_id))


_ONLY_CURRENT = ("order_at", "deriver_name", "deriver_version")
