"""Touched: which rows were changed or deleted, for caches of columns; written by triggers."""

import sqlalchemy as sa

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "touched",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("row", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_touched")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_touched_namespace", "touched", ["namespace", "number", "row"], unique=False)
    for name, happened, which in (
        ("update", "UPDATE ON memories", "new"),
        ("delete", "DELETE ON memories", "old"),
        ("move", "UPDATE OF namespace ON memories WHEN old.namespace <> new.namespace", "old"),
    ):
        op.execute(
            f"CREATE TRIGGER memories_touched_{name} AFTER {happened} BEGIN"
            f" INSERT INTO touched (namespace, row) VALUES ({which}.namespace, {which}.row); END"
        )


def downgrade() -> None:
    op.execute("DROP TRIGGER memories_touched_update")
    op.execute("DROP TRIGGER memories_touched_delete")
    op.execute("DROP TRIGGER memories_touched_move")
    op.drop_table("touched")
