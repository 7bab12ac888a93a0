"""Working memory: the turns of a session that say something lasting, found without reading the others."""

import sqlalchemy as sa

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_memories_lasting",
        "memories",
        ["namespace", "session_id", "order_at", "row"],
        unique=False,
        sqlite_where=sa.text("traits & 1024 <> 0"),
    )


def downgrade() -> None:
    op.drop_index("ix_memories_lasting", table_name="memories")
