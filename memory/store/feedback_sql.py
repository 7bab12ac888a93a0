"""What recalls gave, how often, and the votes on it: one vote for each memory of each recall.

Invariant: nothing is read or written but through the namespace; a vote counts only for a memory that is there.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, delete, func, insert, select, text

from memory.model import Recalled, Uses, Votes
from memory.store.inserts import Insert
from memory.store.tables import feedback, memories, recall_memories, recalls
from recalld.core.scope import SCOPE_FIELDS, Scope

CHUNK = 500

_RECALL = Insert(recalls, ("id", "namespace", "at", *SCOPE_FIELDS))
_GIVEN = text("""
INSERT INTO recall_memories (recall_id, place, memory_id)
SELECT :recall_id, :place, id FROM memories WHERE id = :memory_id AND namespace = :namespace
""")


def _votes(*where: ColumnElement[bool]) -> Select[Any]:
    """Useful and other votes of each memory that has any. Made once: a recall would make it longer than run it."""
    f = feedback.c
    voted = (
        select(f.memory_id, func.count().filter(f.useful).label("useful"), func.count().label("votes"))
        .where(f.namespace == bindparam("namespace"), *where)
        .group_by(f.memory_id)
        .subquery("voted")
    )
    return (
        select(memories.c.row, voted.c.useful, voted.c.votes - voted.c.useful)
        .select_from(voted.join(memories, memories.c.id == voted.c.memory_id))
        .where(memories.c.namespace == bindparam("namespace"))
    )


_VOTES = _votes()
_VOTES_ON_ONE = _votes(feedback.c.memory_id == bindparam("memory_id"))


def record(
    connection: Connection, namespace: str, recall_id: str, at: datetime, scope: Scope, ids: Sequence[str]
) -> None:
    """See `memory.ports.Ledger`."""
    named = dict(zip(SCOPE_FIELDS, scope.values(), strict=True))
    _RECALL.one(connection, {"id": recall_id, "namespace": namespace, "at": at, **named})
    given = [
        {"recall_id": recall_id, "place": place, "memory_id": found, "namespace": namespace}
        for place, found in enumerate(ids)
    ]
    if given:
        connection.execute(_GIVEN, given)


def recalled(connection: Connection, namespace: str, recall_id: str) -> Recalled | None:
    """See `memory.ports.Ledger`."""
    row = connection.execute(select(recalls).where(recalls.c.namespace == namespace, recalls.c.id == recall_id)).first()
    if row is None:
        return None
    given = select(recall_memories.c.memory_id).where(recall_memories.c.recall_id == recall_id)
    ids = connection.scalars(given.order_by(recall_memories.c.place))
    return Recalled(Scope(row.user_id, row.agent_id, row.session_id), tuple(ids))


def vote(
    connection: Connection, namespace: str, recall_id: str, memory_id: str, useful: bool | None, at: datetime
) -> None:
    """See `memory.ports.Ledger`."""
    f = feedback.c
    same = and_(f.namespace == namespace, f.recall_id == recall_id, f.memory_id == memory_id)
    connection.execute(delete(feedback).where(same))
    if useful is not None:
        values = {"namespace": namespace, "recall_id": recall_id, "memory_id": memory_id, "useful": useful, "at": at}
        connection.execute(insert(feedback).values(values))


def votes(connection: Connection, namespace: str, memory_id: str | None) -> dict[int, Votes]:
    """See `memory.ports.Ledger`: reads the index of votes, and of the memories only those that have any."""
    named = {"namespace": namespace} | ({} if memory_id is None else {"memory_id": memory_id})
    found = connection.execute(_VOTES if memory_id is None else _VOTES_ON_ONE, named)
    return {row: Votes(useful, useless) for row, useful, useless in found}


def uses(connection: Connection, namespace: str, rows: Sequence[int]) -> dict[int, Uses]:
    """See `memory.ports.Ledger`: reads of the index of recalls only what is of these rows."""
    given, m = recall_memories.c, memories.c
    found: dict[int, Uses] = {}
    for start in range(0, len(rows), CHUNK):
        counted = (
            select(m.row, func.count(), func.max(recalls.c.at))
            .select_from(memories)
            .join(recall_memories, given.memory_id == m.id)
            .join(recalls, recalls.c.id == given.recall_id)
            .where(m.namespace == namespace, m.row.in_(list(rows[start : start + CHUNK])))
            .group_by(m.row)
        )
        found |= {row: Uses(shown, last_at) for row, shown, last_at in connection.execute(counted)}
    return found


def remove(connection: Connection, namespace: str, memory_ids: Sequence[str]) -> int:
    """Take out the votes on these memories; returns how many there were."""
    mine = and_(feedback.c.namespace == namespace, feedback.c.memory_id.in_(memory_ids))
    return connection.execute(delete(feedback).where(mine)).rowcount
