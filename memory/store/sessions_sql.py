"""The newest turns of a session, read from an index from its end: what is there before them costs nothing."""

from datetime import datetime

from sqlalchemy import Connection, or_, select, text

from memory.model import Memory
from memory.store.filters_sql import scope_conditions
from memory.store.rows import memory_of
from memory.store.tables import LASTING, memories
from recalld.core.scope import Scope


def turns(
    connection: Connection, namespace: str, scope: Scope, now: datetime, limit: int, lasting: bool
) -> list[Memory]:
    """The newest active turns of the session that `scope` names, in its order; `lasting`: only those that last."""
    m = memories.c
    query = select(memories).where(
        m.namespace == namespace,
        *scope_conditions(scope),
        m.kind == "turn",
        m.state == "active",
        m.deriver_name.is_(None),
        or_(m.expires_at.is_(None), m.expires_at > now),
    )
    if lasting:
        # Word for word the condition of the index, or SQLite would not use it.
        query = query.where(text(LASTING))
    newest = connection.execute(query.order_by(m.order_at.desc(), m.row.desc()).limit(limit)).all()
    return [memory_of(row, row.id, row.row) for row in reversed(newest)]
