"""Alembic's entry: runs the migrations over the connection that :mod:`mailwarren.store.migrate` opened and locked.

Each step is noted in ``schema_history`` in the same transaction; the migration that makes the table notes those before.
"""

from typing import Any, cast

import sqlalchemy as sa
from alembic import context

from mailwarren.store.history import step_of
from mailwarren.store.metadata import metadata
from mailwarren.store.tables.history import schema_history

if "connection" not in context.config.attributes:
    raise RuntimeError("run migrations through mailwarren.store.migrate.upgrade(url)")
connection: sa.Connection = context.config.attributes["connection"]


def note(step: Any, **_: Any) -> None:
    """Note a step in the schema's history, when there is one."""
    if not sa.inspect(connection).has_table(schema_history.name):
        return
    script = step.up_revision
    if step.is_upgrade:
        kind, serves = step_of(script)
        row = {"revision": script.revision, "step": kind, "serves": serves}
        connection.execute(sa.insert(schema_history).values(**row, applied_at=sa.func.clock_timestamp()))
    else:
        connection.execute(sa.delete(schema_history).where(schema_history.c.revision == script.revision))


context.configure(
    connection=connection, target_metadata=metadata, transaction_per_migration=False, on_version_apply=cast("Any", note)
)
context.run_migrations()
