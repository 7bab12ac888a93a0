"""First tables: access, memories with versions and full text, outbox, changes, recalls."""

import sqlalchemy as sa

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column("agent_id", sa.Text(), nullable=True),
        sa.Column("session_id", sa.Text(), nullable=True),
        sa.Column("read_only", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.Text(), nullable=True),
        sa.Column("revoked_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("prefix", name=op.f("uq_api_keys_prefix")),
    )
    op.create_table(
        "change_memories",
        sa.Column("change_number", sa.Integer(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("memory_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("change_number", "place", name=op.f("pk_change_memories")),
    )
    op.create_index("ix_change_memories_memory_id", "change_memories", ["memory_id"], unique=False)

    op.create_table(
        "changes",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_changes")),
        sa.UniqueConstraint("id", name=op.f("uq_changes_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_changes_namespace", "changes", ["namespace", "number"], unique=False)

    op.create_table(
        "idempotency_keys",
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("request_digest", sa.Text(), nullable=True),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("memory_ids", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("principal", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"], unique=False)

    op.create_table(
        "memories",
        sa.Column("row", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=True),
        sa.Column("speaker", sa.Text(), nullable=True),
        sa.Column("occurred_at", sa.Text(), nullable=True),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column("agent_id", sa.Text(), nullable=True),
        sa.Column("session_id", sa.Text(), nullable=True),
        sa.Column("expires_at", sa.Text(), nullable=True),
        sa.Column("frame", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.Text(), nullable=False),
        sa.Column("valid_from", sa.Text(), nullable=True),
        sa.Column("valid_to", sa.Text(), nullable=True),
        sa.Column("order_at", sa.Text(), nullable=False),
        sa.Column("terms", sa.Integer(), nullable=False),
        sa.Column("passages", sa.Text(), nullable=True),
        sa.Column("traits", sa.Integer(), nullable=False),
        sa.Column("deriver_name", sa.Text(), nullable=True),
        sa.Column("deriver_version", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("row", name=op.f("pk_memories")),
        sa.UniqueConstraint("id", name=op.f("uq_memories_id")),
        sqlite_autoincrement=True,
    )
    searched = ["state", "kind", "expires_at", "agent_id", "session_id", "terms", "passages", "speaker"]
    searched += ["role", "traits", "order_at"]
    op.create_index("ix_memories_namespace", "memories", ["namespace", "row", *searched, "user_id"], unique=False)
    op.create_index("ix_memories_namespace_agent_id", "memories", ["namespace", "agent_id", "row"], unique=False)
    op.create_index(
        "ix_memories_namespace_session_id", "memories", ["namespace", "session_id", "order_at", "row"], unique=False
    )
    op.create_index(
        "ix_memories_namespace_user_id", "memories", ["namespace", "user_id", "row", *searched], unique=False
    )

    op.create_table(
        "namespaces",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_namespaces")),
    )
    op.create_table(
        "outbox",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("row", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_outbox")),
        sa.UniqueConstraint("row", name=op.f("uq_outbox_row")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_outbox_namespace", "outbox", ["namespace"], unique=False)

    op.create_table(
        "recall_memories",
        sa.Column("recall_id", sa.Text(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("memory_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("recall_id", "place", name=op.f("pk_recall_memories")),
    )
    op.create_index("ix_recall_memories_memory_id", "recall_memories", ["memory_id"], unique=False)

    op.create_table(
        "recalls",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column("agent_id", sa.Text(), nullable=True),
        sa.Column("session_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recalls")),
    )
    op.create_index("ix_recalls_at", "recalls", ["at"], unique=False)

    op.create_table(
        "sources",
        sa.Column("memory_id", sa.Text(), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("memory_id", "source_id", name=op.f("pk_sources")),
    )
    op.create_index("ix_sources_source_id", "sources", ["source_id"], unique=False)

    op.create_table(
        "versions",
        sa.Column("memory_id", sa.Text(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=True),
        sa.Column("speaker", sa.Text(), nullable=True),
        sa.Column("occurred_at", sa.Text(), nullable=True),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column("agent_id", sa.Text(), nullable=True),
        sa.Column("session_id", sa.Text(), nullable=True),
        sa.Column("expires_at", sa.Text(), nullable=True),
        sa.Column("frame", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.Text(), nullable=False),
        sa.Column("valid_from", sa.Text(), nullable=True),
        sa.Column("valid_to", sa.Text(), nullable=True),
        sa.Column("superseded_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("memory_id", "version", name=op.f("pk_versions")),
    )
    op.create_index(
        "uq_memories_external_id",
        "memories",
        [
            "namespace",
            "external_id",
            sa.text("coalesce(user_id, '')"),
            sa.text("coalesce(agent_id, '')"),
            sa.text("coalesce(session_id, '')"),
        ],
        unique=True,
        sqlite_where=sa.text("external_id IS NOT NULL"),
    )
    op.execute(
        "CREATE VIRTUAL TABLE memory_fts USING fts5("
        'tags, body, tokenize = "unicode61 remove_diacritics 0", detail = column, columnsize = 0)'
    )


def downgrade() -> None:
    op.execute("DROP TABLE memory_fts")
    op.drop_table("versions")
    op.drop_table("sources")
    op.drop_table("recalls")
    op.drop_table("recall_memories")
    op.drop_table("outbox")
    op.drop_table("namespaces")
    op.drop_table("memories")
    op.drop_table("idempotency_keys")
    op.drop_table("changes")
    op.drop_table("change_memories")
    op.drop_table("api_keys")
