"""Alembic's entry: runs the migrations over the connection that :mod:`mailwarren.store.migrate` opened and locked."""

from alembic import context

from mailwarren.store.metadata import metadata

connection = context.config.attributes.get("connection")
if connection is None:
    raise RuntimeError("run migrations through mailwarren.store.migrate.upgrade(url)")
context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=False)
context.run_migrations()
