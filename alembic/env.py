"""Runs the migrations on the connection that `recalld.core.db` hands in; every revision is one transaction."""

from alembic import context
from recalld.core.db import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
