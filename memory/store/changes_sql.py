"""Changes and the memories that they are on: what was decided, whether it stands, who may see it.

Invariants: nothing is read or written but through the namespace; what a change is on goes with the memory when that is
erased, and a change of which nothing is left is in no scope but the whole namespace's.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    bindparam,
    exists,
    literal,
    not_,
    or_,
    select,
    text,
    update,
)

from memory.model import LINKS, Change, ChangeSelection, StandingLink
from memory.store.inserts import Insert
from memory.store.tables import change_memories, changes, memories
from recalld.core.db import UtcTime
from recalld.core.scope import Scope

CHUNK = 500
# CROSS JOIN keeps SQLite to this order: from the memories to their changes, never through all of a namespace's.
_LINKS = text("""
SELECT DISTINCT c.number, c.id, c.action, newer.id AS newer, older.id AS older,
  newer.row AS newer_row, older.row AS older_row
FROM change_memories mine
CROSS JOIN changes c ON c.number = mine.change_number
CROSS JOIN change_memories first ON first.change_number = c.number AND first.place = 0
CROSS JOIN change_memories second ON second.change_number = c.number AND second.place = 1
CROSS JOIN memories newer ON newer.id = first.memory_id AND newer.namespace = c.namespace
CROSS JOIN memories older ON older.id = second.memory_id AND older.namespace = c.namespace
WHERE mine.memory_id IN :ids AND c.namespace = :namespace AND c.action IN :actions AND c.undone_by IS NULL
  AND (:known_at IS NULL OR c.at <= :known_at)
""").bindparams(
    bindparam("ids", expanding=True),
    bindparam("actions", sorted(LINKS), expanding=True),
    bindparam("known_at", type_=UtcTime),
)

_CHANGE_COLUMNS = ("id", "namespace", "action", "reason", "at", "digest", "undone_by")
_CHANGE = Insert(changes, _CHANGE_COLUMNS)
_LINK = Insert(change_memories, ("change_number", "place", "memory_id"))


def record(connection: Connection, change: Change) -> None:
    """See `memory.ports.Ledger.record_change`."""
    number = _CHANGE.one(connection, {name: getattr(change, name) for name in _CHANGE_COLUMNS})
    links = [
        {"change_number": number, "place": place, "memory_id": memory_id}
        for place, memory_id in enumerate(change.memory_ids)
    ]
    _LINK.many(connection, links)


def find(connection: Connection, namespace: str, limit: int, wanted: ChangeSelection) -> list[Change]:
    """See `memory.ports.Ledger.changes`."""
    c, links = changes.c, change_memories.c
    where = [c.namespace == namespace, *_in_scope(wanted.scope)]
    if wanted.actions:
        where.append(c.action.in_(wanted.actions))
    if wanted.memory_id is not None:
        about = select(links.change_number).where(links.memory_id == wanted.memory_id)
        where.append(c.number.in_(about))
    if wanted.before_number is not None:
        where.append(c.number < wanted.before_number)
    found = connection.execute(select(changes).where(*where).order_by(c.number.desc()).limit(limit)).all()
    return with_memories(connection, found)


def one(connection: Connection, namespace: str, change_id: str) -> Change | None:
    """See `memory.ports.Ledger.change`."""
    named = select(changes).where(changes.c.namespace == namespace, changes.c.id == change_id)
    return next(iter(with_memories(connection, connection.execute(named).all())), None)


def mark_undone(connection: Connection, namespace: str, change_id: str, by: str | None) -> None:
    """See `memory.ports.Ledger.mark_undone`."""
    here = and_(changes.c.namespace == namespace, changes.c.id == change_id)
    connection.execute(update(changes).where(here).values(undone_by=by))


def decided(connection: Connection, namespace: str, digests: Sequence[str]) -> frozenset[str]:
    """See `memory.ports.Ledger.decided`."""
    found: set[str] = set()
    for start in range(0, len(digests), CHUNK):
        named = changes.c.digest.in_(digests[start : start + CHUNK])
        found.update(connection.scalars(select(changes.c.digest).where(changes.c.namespace == namespace, named)))
    return frozenset(found)


def undone(connection: Connection, namespace: str) -> frozenset[str]:
    """See `memory.ports.Ledger.undone`."""
    c = changes.c
    taken_back = (c.namespace == namespace, c.digest.is_not(None), c.undone_by.is_not(None))
    return frozenset(connection.scalars(select(c.digest).where(*taken_back)))


def links(
    connection: Connection, namespace: str, memory_ids: Sequence[str], known_at: datetime | None
) -> list[StandingLink]:
    """See `memory.ports.Ledger.links`."""
    found = {
        row.number: StandingLink(row.id, row.action, row.newer, row.older, row.newer_row, row.older_row)
        for start in range(0, len(memory_ids), CHUNK)
        for row in connection.execute(
            _LINKS, {"namespace": namespace, "ids": memory_ids[start : start + CHUNK], "known_at": known_at}
        )
    }
    return [found[number] for number in sorted(found, reverse=True)]


def _in_scope(scope: Scope) -> list[ColumnElement[bool]]:
    """Every memory of the change is in the scope, and there is one; no condition for the whole namespace."""
    if not scope.given():
        return []
    link, memory = change_memories.c, memories.c
    mine = and_(*(memory[name] == value for name, value in scope.given().items()))
    of_change = link.change_number == changes.c.number
    joined = change_memories.outerjoin(memories, memory.id == link.memory_id)
    outside = exists(
        select(literal(1)).select_from(joined).where(of_change, or_(memory.id.is_(None), not_(_told(mine))))
    )
    inside = exists(select(literal(1)).select_from(joined).where(of_change, mine))
    return [inside, not_(outside)]


def _told(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """The condition, false where it is NULL."""
    return and_(condition.is_not(None), condition)


def with_memories(connection: Connection, found: Sequence[Row[Any]]) -> list[Change]:
    """Rows of `changes` as values, with the memories that each is on."""
    ids: dict[int, list[str]] = {row.number: [] for row in found}
    numbers = list(ids)
    for start in range(0, len(numbers), CHUNK):
        part = numbers[start : start + CHUNK]
        links = select(change_memories).where(change_memories.c.change_number.in_(part))
        for link in connection.execute(links.order_by(change_memories.c.place)):
            ids[link.change_number].append(link.memory_id)
    return [
        Change(
            row.id,
            row.namespace,
            row.action,
            row.reason,
            tuple(ids[row.number]),
            row.at,
            row.digest,
            row.undone_by,
            row.number,
        )
        for row in found
    ]
