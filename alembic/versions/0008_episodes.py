"""Episodes: an index of the memories that tell one, so that a namespace without any is seen to have none."""

import sqlalchemy as sa

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_memories_episodes", "memories", ["namespace", "row"], unique=False, sqlite_where=sa.text("kind = 'episode'")
    )


def downgrade() -> None:
    op.drop_index("ix_memories_episodes", "memories")
