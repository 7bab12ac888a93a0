"""The tables of erasures. Migrations in `alembic/versions` make them; a test compares the two.

erasures 1--* erased_memories    the ledger: a keyed hash of each erased id, and no text
erasures 1--* erasure_windows    what the rescan looks for, until it is done (`memory.remains`)
instance                         this instance's secrets, by name
"""

from sqlalchemy import Column, Index, Integer, LargeBinary, Table, Text

from recalld.core.db import Json, UtcTime, metadata

erasures = Table(
    "erasures",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("namespace", Text, nullable=False),
    # The scope that the asking key was bound to: who may see the receipt.
    Column("user_id", Text),
    Column("agent_id", Text),
    Column("session_id", Text),
    Column("asked", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    # The newest entry of the outbox before it: what is to leave the vector index was put in later.
    Column("entry", Integer, nullable=False),
    Column("memories", Integer, nullable=False),
    Column("removed", Json, nullable=False),
    Column("rescan", Json),
    Column("erased_at", UtcTime, nullable=False),
    Column("finished_at", UtcTime),
    Column("digest", Text, nullable=False),
    Index("ix_erasures_state", "state"),
    sqlite_autoincrement=True,
)

erased_memories = Table(
    "erased_memories",
    metadata,
    Column("hash", Text, primary_key=True),
    Column("erasure_id", Text, nullable=False),
    Index("ix_erased_memories_erasure_id", "erasure_id"),
)

erasure_windows = Table(
    "erasure_windows",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("erasure_id", Text, nullable=False),
    Column("windows", LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)

instance = Table(
    "instance",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
