"""Tables that stand for older rows are filled beside the running system, and cut short they go on."""

import asyncio
import json
from uuid import UUID, uuid4

import asyncpg
import pytest

from mailwarren.store import fills, migrate
from mailwarren.store.engine import dsn
from mailwarren.store.fills import fill_tables

pytestmark = pytest.mark.postgres

WITHIN = 20.0
EMAIL = """
INSERT INTO emails (id, tenant, created_at, lane, partition, content, sender, subject, "to", cc, bcc, reply_to, tags,
  metadata, message_id, on_unknown)
VALUES ($1, $1, now(), 'bulk', 0, '\\x00', 'a@b.test', 's', '{}', '{}', '{}', '{}', $2, '{}', 'm', 'resend')
"""
TAGGED = json.dumps([{"name": "plan", "value": "pro"}, {"name": "plan", "value": "pro"}, {"name": "new"}])
ODD = json.dumps([{"name": "long", "value": "x" * 5000}, {"value": "nameless"}])
KINDS = (TAGGED, ODD, "[]", '{"no": "list"}')
MAILS = 1000
TAGS = MAILS // 4 * 2
"""A quarter of them has two."""
PLACE = "SELECT after, ended_at IS NOT NULL FROM schema_fills WHERE name = 'email_tags'"
COUNT = "SELECT count(*) FROM email_tags"


@pytest.fixture
async def connection(postgres):
    """The owner's, to a database whose emails are older than their tags."""
    connection = await asyncpg.connect(dsn(postgres.database_url))
    await connection.execute("DROP SCHEMA public CASCADE")
    await connection.execute("CREATE SCHEMA public")
    await migrate.upgrade(postgres.database_url, "0022_metrics")
    await connection.executemany(EMAIL, [(UUID(int=n + 1), KINDS[n % 4]) for n in range(MAILS)])
    yield connection
    await connection.close()


@pytest.fixture
async def unfilled(connection, postgres):
    """As it is when the process is killed behind the migrations."""
    await migrate.upgrade(postgres.database_url)
    await connection.execute("TRUNCATE email_tags")
    await connection.execute("UPDATE schema_fills SET after = NULL, ended_at = NULL")
    return connection


async def test_an_upgrade_fills_in_the_tags_of_the_emails_that_are_there(connection, postgres):
    await migrate.upgrade(postgres.database_url)
    assert await connection.fetchval(COUNT) == TAGS
    rows = await connection.fetch("SELECT name, value FROM email_tags WHERE email_id = $1 ORDER BY name", UUID(int=1))
    assert [tuple(row) for row in rows] == [("new", ""), ("plan", "pro")]
    assert tuple(await connection.fetchrow(PLACE)) == (UUID(int=MAILS), True)


async def test_any_number_of_processes_fill_once_in_batches(unfilled, postgres):
    done = await asyncio.gather(*(fill_tables(postgres.database_url, WITHIN, batch=7) for _ in range(3)))
    assert sorted(done) == [[], [], ["email_tags"]]
    assert await unfilled.fetchval(COUNT) == TAGS


async def test_cut_short_it_goes_on_where_it_was(unfilled, postgres, monkeypatch):
    _, statement = fills.FILLS["email_tags"]
    # The third batch and those after it divide by zero.
    cut = statement.replace(
        "WHERE e.id > $1", "WHERE 1 / (e.id < '00000000-0000-0000-0000-0000000000c9')::int = 1 AND e.id > $1"
    )
    monkeypatch.setattr(fills, "FILLS", {"email_tags": ("emails", cut)})
    with pytest.raises(asyncpg.DivisionByZeroError):
        await fill_tables(postgres.database_url, WITHIN, batch=100)
    done = await unfilled.fetchval(COUNT)
    assert (done, *await unfilled.fetchrow(PLACE)) == (100, UUID(int=200), False)
    monkeypatch.undo()
    # Before the place nothing is done again: what was deleted since stays so.
    await unfilled.execute("DELETE FROM email_tags WHERE email_id = $1", UUID(int=1))
    assert await migrate.upgrade(postgres.database_url) == "the database is up to date"
    assert await unfilled.fetchval(COUNT) == TAGS - 2
    assert tuple(await unfilled.fetchrow(PLACE)) == (UUID(int=MAILS), True)


async def test_who_writes_does_not_wait_and_an_email_that_is_deleted_meanwhile_leaves_no_tags(unfilled, postgres):
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    other = await asyncpg.connect(dsn(postgres.database_url))
    try:
        deleting = other.transaction()
        await deleting.start()
        await other.execute("DELETE FROM emails WHERE id = $1", UUID(int=1))
        filling = asyncio.create_task(fill_tables(postgres.database_url, WITHIN))
        async with asyncio.timeout(10):
            while not await unfilled.fetchval(waits):
                await asyncio.sleep(0.02)
        await unfilled.execute("SET lock_timeout = '2s'")
        await unfilled.execute(EMAIL, uuid4(), TAGGED)
        await unfilled.execute("UPDATE emails SET subject = 'later' WHERE id = $1", UUID(int=5))
        await deleting.commit()
        assert await filling == ["email_tags"]
    finally:
        await other.close()
    assert await unfilled.fetchval(COUNT) == TAGS
    assert await unfilled.fetchval("SELECT count(*) FROM email_tags WHERE email_id = $1", UUID(int=1)) == 0
