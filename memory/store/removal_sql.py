"""Deleting memories and every row that tells of them, in the caller's transaction.

Invariant: ids and rows were read within the namespace; an id belongs to one namespace only.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, delete, or_

from memory.store import feedback_sql, fulltext
from memory.store.tables import change_memories, memories, outbox, recall_memories, sources, versions

CHUNK = 500


def chunks(values: Sequence[Any]) -> Iterable[list[Any]]:
    """Parts small enough for SQLite's limit on bound values."""
    return (list(values[start : start + CHUNK]) for start in range(0, len(values), CHUNK))


def remove(connection: Connection, namespace: str, gone: Sequence[str], rows: Sequence[int]) -> dict[str, int]:
    """Delete memories by their ids and rows; returns how many rows went, by place. The outbox is left alone."""
    removed = dict.fromkeys(("memories", "versions", "sources", "fulltext", "changes", "recalls", "feedback"), 0)
    run = connection.execute
    for part in chunks(gone):
        removed["versions"] += run(delete(versions).where(versions.c.memory_id.in_(part))).rowcount
        link = or_(sources.c.memory_id.in_(part), sources.c.source_id.in_(part))
        removed["sources"] += run(delete(sources).where(link)).rowcount
        removed["changes"] += run(delete(change_memories).where(change_memories.c.memory_id.in_(part))).rowcount
        removed["recalls"] += run(delete(recall_memories).where(recall_memories.c.memory_id.in_(part))).rowcount
        removed["feedback"] += feedback_sql.remove(connection, namespace, part)
    for numbers in chunks(rows):
        removed["memories"] += run(delete(memories).where(memories.c.row.in_(numbers))).rowcount
    removed["fulltext"] = fulltext.remove(connection, rows)
    return removed


def leave_outbox(connection: Connection, rows: Sequence[int]) -> int:
    """Take rows out of the outbox; returns how many were in it."""
    return sum(connection.execute(delete(outbox).where(outbox.c.row.in_(part))).rowcount for part in chunks(rows))
