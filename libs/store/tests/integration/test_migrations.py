"""Migrations against a real server."""

import asyncio

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect

import mailwarren.store.tables.blobs
import mailwarren.store.tables.broadcasts
import mailwarren.store.tables.contacts
import mailwarren.store.tables.domains
import mailwarren.store.tables.history
import mailwarren.store.tables.imports
import mailwarren.store.tables.ingest
import mailwarren.store.tables.logs
import mailwarren.store.tables.metrics
import mailwarren.store.tables.privacy
import mailwarren.store.tables.scheduled
import mailwarren.store.tables.templates
import mailwarren.store.tables.tls
import mailwarren.store.tables.tracker
import mailwarren.store.tables.unsubscribes
import mailwarren.store.tables.webhooks  # noqa: F401 - all fill the metadata
from mailwarren.store import migrate
from mailwarren.store.engine import driver_connect, dsn, make_engine
from mailwarren.store.history import own_revisions
from mailwarren.store.metadata import metadata

pytestmark = pytest.mark.postgres


@pytest.fixture
async def database_url(postgres):
    """An empty database for each test."""
    connection = await asyncpg.connect(dsn(postgres.database_url))
    await connection.execute("DROP SCHEMA public CASCADE")
    await connection.execute("CREATE SCHEMA public")
    await connection.close()
    return postgres.database_url


@pytest.fixture
async def engine(database_url):
    engine = make_engine(database_url)
    yield engine
    await engine.dispose()


async def test_many_may_migrate_at_once(database_url):
    assert not await migrate.check(database_url)
    await asyncio.gather(*(migrate.upgrade(database_url) for _ in range(5)))
    assert await migrate.check(database_url)
    await migrate.upgrade(database_url)
    assert await migrate.check(database_url)


async def test_the_migrations_make_what_the_tables_say(database_url, engine):
    await migrate.upgrade(database_url)

    def differences(connection):
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "include_name": lambda name, kind, _: kind != "table" or not name.startswith("events_"),
            },
        )
        return compare_metadata(context, metadata)

    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_the_migrations_make_the_checks_and_comments_of_the_tables(database_url, engine):
    await migrate.upgrade(database_url)

    def described(connection):
        inspector = inspect(connection)
        return {
            table: (
                inspector.get_table_comment(table)["text"],
                {check["name"] for check in inspector.get_check_constraints(table)},
            )
            for table in metadata.tables
        }

    async with engine.connect() as connection:
        actual = await connection.run_sync(described)
    for name, table in metadata.tables.items():
        comment, checks = actual[name]
        assert comment == table.comment
        assert checks == {
            str(constraint.name) for constraint in table.constraints if type(constraint).__name__ == "CheckConstraint"
        }


async def test_every_word_that_the_tables_allow_can_be_stored(database_url, engine):
    """The migrations spell out the words; here they meet those of the enumerations."""
    await migrate.upgrade(database_url)
    async with driver_connect(engine) as connection:
        sql = (
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'c'"
        )
        stored = {(row[0], row[1]): row[2] for row in await connection.fetch(sql)}
    for table in metadata.tables.values():
        for constraint in table.constraints:
            if type(constraint).__name__ == "CheckConstraint" and " IN " in str(constraint.sqltext):
                definition = stored[table.name, str(constraint.name)]
                words = str(constraint.sqltext).partition(" IN ")[2]
                assert set(words.split("'")[1::2]) == set(definition.split("'")[1::2])


SCHEMA = """
SELECT c.relname, 'column ' || a.attnum, concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
  pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum))
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
  LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0
UNION ALL SELECT c.relname, 'relation', concat_ws(' ', c.relkind, c.reloptions, obj_description(c.oid, 'pg_class'))
FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace
UNION ALL SELECT c.relname, 'constraint ' || o.conname, concat_ws(' ', o.convalidated, pg_get_constraintdef(o.oid))
FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid WHERE c.relnamespace = 'public'::regnamespace
UNION ALL SELECT c.relname, 'index', concat_ws(' ', i.indisvalid, pg_get_indexdef(i.indexrelid))
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relnamespace = 'public'::regnamespace
UNION ALL SELECT c.relname, 'trigger', pg_get_triggerdef(t.oid)
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE c.relnamespace = 'public'::regnamespace AND NOT t.tgisinternal
UNION ALL SELECT p.proname, 'function', concat_ws(' ', pg_get_functiondef(p.oid), p.proacl)
FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace
ORDER BY 1, 2, 3
"""
DAY = "SELECT make_events_partition('2026-01-05')"
ROWS = """
INSERT INTO events (at, id, delivery_id, email_id, tenant, kind, attempt)
SELECT at, gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'delivered', 1
FROM (VALUES ('2026-01-05 10:00Z'::timestamptz), ('2025-01-01 10:00Z')) AS t (at)
"""


async def test_a_database_that_was_upgraded_is_as_one_that_is_new(database_url):
    """Column by column and check by check, when every release was there and has written events."""
    connection = await asyncpg.connect(dsn(database_url))
    try:
        await migrate.upgrade(database_url)
        await connection.execute(DAY)
        new = [tuple(row) for row in await connection.fetch(SCHEMA)]
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        for revision in own_revisions():
            await migrate.upgrade(database_url, revision)
            if revision == "0005_partitions":
                await connection.execute(DAY)
                await connection.execute(ROWS)
        upgraded = [tuple(row) for row in await connection.fetch(SCHEMA)]
    finally:
        await connection.close()
    assert [row for row in new if row[1].startswith("constraint") and not row[2].startswith("t ")] == []
    assert upgraded == new


async def test_a_failed_migration_leaves_nothing(database_url, monkeypatch, engine):
    def broken(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr("alembic.operations.ops.CreateIndexOp.create_index", broken)
    with pytest.raises(ZeroDivisionError):
        await migrate.upgrade(database_url)
    async with engine.connect() as connection:
        assert await connection.run_sync(lambda c: inspect(c).get_table_names()) == []


async def test_a_server_that_is_away_is_an_os_error():
    with pytest.raises(OSError, match=r"refused|Connect"):
        await migrate.check("postgresql://u@127.0.0.1:1/d")


async def test_a_statement_and_an_idle_transaction_are_ended_in_time(postgres):
    engine = make_engine(postgres.database_url, statement_timeout=0.2, application_name="impatient")
    async with driver_connect(engine) as connection:
        with pytest.raises(asyncpg.QueryCanceledError):
            await connection.execute("SELECT pg_sleep(5)")
        assert await connection.fetchval("SHOW application_name") == "impatient"
    async with engine.connect() as outer:
        raw = await outer.get_raw_connection()
        connection = raw.driver_connection
        await connection.execute("BEGIN")
        await asyncio.sleep(0.5)
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)):
            await connection.fetchval("SELECT 1")
        await outer.invalidate()
    await engine.dispose()
