"""Decisions have names and can be undone: digest and undone_by of changes."""

import sqlalchemy as sa

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("changes") as changes:
        changes.add_column(sa.Column("digest", sa.Text(), nullable=True))
        changes.add_column(sa.Column("undone_by", sa.Text(), nullable=True))
    op.create_index("ix_changes_digest", "changes", ["namespace", "digest"], unique=False)
    op.create_index(
        "ix_changes_news", "changes", ["namespace", "number"], unique=False, sqlite_where=sa.text("digest IS NULL")
    )


def downgrade() -> None:
    op.drop_index("ix_changes_news", table_name="changes")
    op.drop_index("ix_changes_digest", table_name="changes")
    with op.batch_alter_table("changes") as changes:
        changes.drop_column("undone_by")
        changes.drop_column("digest")
