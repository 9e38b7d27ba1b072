"""Indexes that are made beside the running system, and the tags that a trigger keeps."""

import asyncio
import json
from uuid import uuid4

import asyncpg
import pytest

from mailwarren.store import migrate
from mailwarren.store.engine import dsn
from mailwarren.store.indexes import LATER, make_indexes

pytestmark = pytest.mark.postgres

STATE = "SELECT relname, indisvalid FROM pg_index JOIN pg_class ON oid = indexrelid WHERE relname = ANY($1)"
EMAIL = """
INSERT INTO emails (id, tenant, created_at, lane, partition, content, sender, subject, "to", cc, bcc, reply_to, tags,
  metadata, message_id, on_unknown)
VALUES ($1, $2, now(), 'bulk', 0, '\\x00', 'a@b.test', 's', '{}', '{}', '{}', '{}', $3, '{}', 'm', 'resend')
"""


@pytest.fixture
async def connection(postgres):
    """The owner's, to a migrated database of the test's own."""
    connection = await asyncpg.connect(dsn(postgres.database_url))
    await connection.execute("DROP SCHEMA public CASCADE")
    await connection.execute("CREATE SCHEMA public")
    await migrate.upgrade(postgres.database_url)
    yield connection
    await connection.close()


async def valid(connection):
    return {row["relname"]: row["indisvalid"] for row in await connection.fetch(STATE, list(LATER))}


async def test_they_are_made_after_the_migrations_by_any_number_of_processes(connection, postgres):
    assert await valid(connection) == dict.fromkeys(LATER, True)
    await connection.execute("DROP INDEX ix_deliveries_state")
    made = await asyncio.gather(*(make_indexes(postgres.database_url, 20) for _ in range(3)))
    assert sorted(made) == [[], [], ["ix_deliveries_state"]]
    assert await valid(connection) == dict.fromkeys(LATER, True)


async def test_one_that_was_cut_short_is_made_anew(connection, postgres):
    # What a killed CREATE INDEX CONCURRENTLY leaves behind.
    await connection.execute(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_deliveries_address'::regclass"
    )
    assert (await valid(connection))["ix_deliveries_address"] is False
    await migrate.upgrade(postgres.database_url)
    assert await valid(connection) == dict.fromkeys(LATER, True)


@pytest.mark.parametrize(
    ("tags", "kept"),
    [
        ([{"name": "category", "value": "welcome"}, {"name": "plan"}], [("category", "welcome"), ("plan", "")]),
        ([{"name": "a", "value": "1"}, {"name": "a", "value": "1"}], [("a", "1")]),
        ([{"name": "long", "value": "x" * 5000}, {"name": "short", "value": "y"}], [("short", "y")]),
        ([{"value": "nameless"}], []),
        ([], []),
        ({"no": "list"}, []),
    ],
    ids=["two", "twice", "long", "nameless", "none", "odd"],
)
async def test_tags_are_kept_with_their_email_and_go_with_it(connection, tags, kept):
    email, tenant = uuid4(), uuid4()
    await connection.execute(EMAIL, email, tenant, json.dumps(tags))
    rows = await connection.fetch(
        "SELECT name, value, email_id FROM email_tags WHERE tenant = $1 ORDER BY name", tenant
    )
    assert [(row["name"], row["value"]) for row in rows] == kept
    assert {row["email_id"] for row in rows} <= {email}
    await connection.execute("DELETE FROM emails WHERE id = $1", email)
    assert await connection.fetchval("SELECT count(*) FROM email_tags WHERE tenant = $1", tenant) == 0
