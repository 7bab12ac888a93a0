"""Memories as rows of the tables, and rows as memories."""

from typing import Any

from sqlalchemy import Row, bindparam, select

from memory.model import Deriver, Item, Memory
from memory.store.tables import CONTENT_COLUMNS, VERSION_COLUMNS, memories
from recalld.core.scope import SCOPE_FIELDS, Scope

BY_ROW = (
    select(memories)
    .where(memories.c.namespace == bindparam("namespace"), memories.c.row.in_(bindparam("rows", expanding=True)))
    .order_by(memories.c.row.desc())
)
"""Memories of a namespace by their rows. Made once: a recall would make it longer than run it."""


def values_of(memory: Memory) -> dict[str, Any]:
    """The columns of a memory's current version."""
    item = memory.item
    return {
        **{name: getattr(item, name) for name in CONTENT_COLUMNS if name not in SCOPE_FIELDS},
        **dict(zip(SCOPE_FIELDS, item.scope.values(), strict=True)),
        **{name: getattr(memory, name) for name in VERSION_COLUMNS},
        "metadata": dict(item.metadata),
        "frame": None if item.frame is None else dict(item.frame),
        "order_at": memory.order_at,
        "deriver_name": memory.deriver and memory.deriver.name,
        "deriver_version": memory.deriver and memory.deriver.version,
    }


def memory_of(
    row: Row[Any], memory_id: str, number: int, origins: tuple[str, ...] = (), deriver: Deriver | None = None
) -> Memory:
    """One version of a memory. Every field is written out: a recall makes some hundred of these."""
    scope = Scope(row.user_id, row.agent_id, row.session_id)
    item = Item(
        text=row.text,
        kind=row.kind,
        role=row.role,
        speaker=row.speaker,
        occurred_at=row.occurred_at,
        external_id=row.external_id,
        metadata=row.metadata,
        scope=scope,
        expires_at=row.expires_at,
        frame=row.frame,
    )
    return Memory(
        id=memory_id,
        namespace=row.namespace,
        item=item,
        created_at=row.created_at,
        recorded_at=row.recorded_at,
        version=row.version,
        state=row.state,
        valid_from=row.valid_from,
        valid_to=row.valid_to,
        sources=origins,
        deriver=deriver,
        row=number,
    )


def deriver_of(row: Row[Any]) -> Deriver | None:
    return None if row.deriver_name is None else Deriver(row.deriver_name, row.deriver_version)
