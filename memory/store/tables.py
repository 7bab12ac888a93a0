"""The tables of memory. Migrations in `alembic/versions` make them; a test compares the two.

    memories 1--* versions          what a memory said before (the current version is in `memories`)
    memories *--* sources           a derived memory and what it came from
    memories 1--1 outbox            rows whose vector has to be brought up to date
    memories 1--* touched           rows that were changed or deleted, so that a cache knows what to read again
    memories 1--* memory_fts        analysed terms of each passage; rowid = its key (`retrieval.passages`)
    changes 1--* change_memories    what was decided, on which memories
    recalls 1--* recall_memories    what was given, best first
    recall_memories 1--1 feedback   whether it was of use
    derived_until                   up to which change each deriver has seen a namespace

Invariants: `row` is never reused (AUTOINCREMENT), so that an index can never take a new memory for an erased one;
`external_id` is unique within namespace and exact scope.
"""

from sqlalchemy import Boolean, Column, Connection, Index, Integer, Table, Text, event, func, text

from recalld.core.db import Json, UtcTime, metadata
from retrieval.traits import Trait

CONTENT_COLUMNS = (
    "kind", "text", "role", "speaker", "occurred_at", "external_id", "metadata", "user_id", "agent_id", "session_id",
    "expires_at", "frame",
)  # fmt: skip
_SEARCHED = (
    "state", "kind", "expires_at", "agent_id", "session_id", "terms", "passages", "speaker", "role", "traits",
    "order_at",
)  # fmt: skip
LASTING = f"traits & {int(Trait.LASTING)} <> 0"
VERSION_COLUMNS = ("version", "state", "created_at", "recorded_at", "valid_from", "valid_to")


def _content() -> list[Column[object]]:
    """The columns of one version's content, the same in `memories` and `versions`."""
    return [
        Column("kind", Text, nullable=False),
        Column("text", Text, nullable=False),
        Column("role", Text),
        Column("speaker", Text),
        Column("occurred_at", UtcTime),
        Column("external_id", Text),
        Column("metadata", Json, nullable=False),
        Column("user_id", Text),
        Column("agent_id", Text),
        Column("session_id", Text),
        Column("expires_at", UtcTime),
        Column("frame", Json),
        Column("version", Integer, nullable=False),
        Column("state", Text, nullable=False),
        Column("created_at", UtcTime, nullable=False),
        Column("recorded_at", UtcTime, nullable=False),
        Column("valid_from", UtcTime),
        Column("valid_to", UtcTime),
    ]


memories = Table(
    "memories",
    metadata,
    Column("row", Integer, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("namespace", Text, nullable=False),
    *_content(),
    Column("order_at", UtcTime, nullable=False),
    Column("terms", Integer, nullable=False),
    # Terms of each passage as a JSON list; NULL where there is one, which has them all.
    Column("passages", Text),
    # Bits of `retrieval.traits.Trait`, read off the text.
    Column("traits", Integer, nullable=False),
    Column("deriver_name", Text),
    Column("deriver_version", Text),
    # These two hold all that says whether a recall may look at a row, so that it need not read the rows themselves.
    Index("ix_memories_namespace", "namespace", "row", *_SEARCHED, "user_id"),
    Index("ix_memories_namespace_user_id", "namespace", "user_id", "row", *_SEARCHED),
    Index("ix_memories_namespace_session_id", "namespace", "session_id", "order_at", "row"),
    Index("ix_memories_namespace_agent_id", "namespace", "agent_id", "row"),
    Index("ix_memories_episodes", "namespace", "row", sqlite_where=text("kind = 'episode'")),
    # What a session's working memory keeps, however long ago it was said.
    Index("ix_memories_lasting", "namespace", "session_id", "order_at", "row", sqlite_where=text(LASTING)),
    sqlite_autoincrement=True,
)
Index(
    "uq_memories_external_id",
    memories.c.namespace,
    memories.c.external_id,
    func.coalesce(memories.c.user_id, ""),
    func.coalesce(memories.c.agent_id, ""),
    func.coalesce(memories.c.session_id, ""),
    unique=True,
    sqlite_where=text("external_id IS NOT NULL"),
)

versions = Table(
    "versions",
    metadata,
    Column("memory_id", Text, primary_key=True),
    Column("namespace", Text, nullable=False),
    *(column if column.name != "version" else Column("version", Integer, primary_key=True) for column in _content()),
    Column("superseded_at", UtcTime, nullable=False),
)

sources = Table(
    "sources",
    metadata,
    Column("memory_id", Text, primary_key=True),
    Column("source_id", Text, primary_key=True),
    Column("namespace", Text, nullable=False),
    Index("ix_sources_source_id", "source_id"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("namespace", Text, nullable=False),
    Column("row", Integer, nullable=False, unique=True),
    Index("ix_outbox_namespace", "namespace"),
    sqlite_autoincrement=True,
)

# Written by triggers, so that no statement can forget it. New rows are not in it: they are those with a higher number.
touched = Table(
    "touched",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("namespace", Text, nullable=False),
    Column("row", Integer, nullable=False),
    Index("ix_touched_namespace", "namespace", "number", "row"),
    sqlite_autoincrement=True,
)
_TRIGGERS = [
    f"CREATE TRIGGER memories_touched_{name} AFTER {happened} BEGIN"
    f" INSERT INTO touched (namespace, row) VALUES ({which}.namespace, {which}.row); END"
    for name, happened, which in (
        ("update", "UPDATE ON memories", "new"),
        ("delete", "DELETE ON memories", "old"),
        # An erasure moves rows to a namespace of its own: the one that they leave has to know.
        ("move", "UPDATE OF namespace ON memories WHEN old.namespace <> new.namespace", "old"),
    )
]


@event.listens_for(touched, "after_create")
def _make_triggers(_table: Table, connection: Connection, **_given: object) -> None:
    for trigger in _TRIGGERS:
        connection.exec_driver_sql(trigger)


changes = Table(
    "changes",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("namespace", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("digest", Text),
    Column("undone_by", Text),
    Index("ix_changes_namespace", "namespace", "number"),
    Index("ix_changes_digest", "namespace", "digest"),
    # What callers did, which derivers follow: a decision of theirs has a digest.
    Index("ix_changes_news", "namespace", "number", sqlite_where=text("digest IS NULL")),
    sqlite_autoincrement=True,
)

change_memories = Table(
    "change_memories",
    metadata,
    Column("change_number", Integer, primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("memory_id", Text, nullable=False),
    Index("ix_change_memories_memory_id", "memory_id"),
)

recalls = Table(
    "recalls",
    metadata,
    Column("id", Text, primary_key=True),
    Column("namespace", Text, nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("user_id", Text),
    Column("agent_id", Text),
    Column("session_id", Text),
    Index("ix_recalls_at", "at"),
)

recall_memories = Table(
    "recall_memories",
    metadata,
    Column("recall_id", Text, primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("memory_id", Text, nullable=False),
    Index("ix_recall_memories_memory_id", "memory_id"),
)

feedback = Table(
    "feedback",
    metadata,
    Column("recall_id", Text, primary_key=True),
    Column("memory_id", Text, primary_key=True),
    Column("namespace", Text, nullable=False),
    Column("useful", Boolean, nullable=False),
    Column("at", UtcTime, nullable=False),
    Index("ix_feedback_namespace", "namespace", "memory_id", "useful"),
)

derived_until = Table(
    "derived_until",
    metadata,
    Column("namespace", Text, primary_key=True),
    Column("deriver_name", Text, primary_key=True),
    Column("deriver_version", Text, nullable=False),
    Column("change_number", Integer, nullable=False),
)
