"""Feedback: votes on the memories that recalls gave."""

import sqlalchemy as sa

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "feedback",
        sa.Column("recall_id", sa.Text(), nullable=False),
        sa.Column("memory_id", sa.Text(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("useful", sa.Boolean(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("recall_id", "memory_id", name=op.f("pk_feedback")),
    )
    op.create_index("ix_feedback_namespace", "feedback", ["namespace", "memory_id", "useful"], unique=False)


def downgrade() -> None:
    op.drop_table("feedback")
