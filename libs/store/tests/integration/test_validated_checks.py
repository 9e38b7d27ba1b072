"""Checks that a migration adds without looking at the rows are valid afterwards, and nobody waits for that."""

import asyncio
from uuid import uuid4

import asyncpg
import pytest

from mailwarren.store import migrate
from mailwarren.store.checks import validate_checks
from mailwarren.store.engine import dsn

pytestmark = pytest.mark.postgres

WITHIN = 20.0
OPEN = (
    "SELECT conrelid::regclass::text AS place, conname AS name FROM pg_constraint WHERE contype = 'c' "
    "AND NOT convalidated ORDER BY 1, 2"
)
EVENT = (
    "INSERT INTO events (at, id, delivery_id, email_id, tenant, kind, attempt) "
    "VALUES ('2026-01-05 10:00Z', $1, $1, $1, $1, $2, 1)"
)
DAY = "events_20260105"
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@pytest.fixture
async def connection(postgres):
    """The owner's, to a database of the test's own with a day of events; migrated, and not looked at afterwards."""
    connection = await asyncpg.connect(dsn(postgres.database_url))
    await connection.execute("DROP SCHEMA public CASCADE")
    await connection.execute("CREATE SCHEMA public")
    await migrate.upgrade(postgres.database_url, "0020_egress")
    await connection.execute("SELECT make_events_partition('2026-01-05')")
    await migrate.upgrade(postgres.database_url, "0022_metrics")
    yield connection
    await connection.close()


async def unproved(connection):
    return [(row["place"], row["name"]) for row in await connection.fetch(OPEN)]


async def test_they_are_validated_in_every_partition_by_any_number_of_processes(connection, postgres):
    expected = [
        (table, f"ck_events_{word}") for table in ("events", DAY, "events_default") for word in ("flag", "kind")
    ]
    expected.append(("stats_minute", "ck_stats_minute_kind"))
    assert sorted(await unproved(connection)) == sorted(expected)
    done = await asyncio.gather(*(validate_checks(postgres.database_url, WITHIN) for _ in range(3)))
    assert sorted(done) == [0, 0, len(expected)]
    assert await unproved(connection) == []
    with pytest.raises(asyncpg.CheckViolationError):
        await connection.execute(EVENT, uuid4(), "eaten")


async def test_a_migration_that_was_cut_short_goes_on_with_the_next(connection, postgres):
    await migrate.upgrade(postgres.database_url)
    assert await unproved(connection) == []
    # As it is when the process is killed between the two.
    await connection.execute("UPDATE pg_constraint SET convalidated = false WHERE conname = 'ck_stats_minute_kind'")
    assert await migrate.upgrade(postgres.database_url) == "the database is up to date"
    assert await unproved(connection) == []


async def test_who_writes_is_not_waited_for_and_does_not_wait(connection, postgres):
    async with connection.transaction():
        await connection.execute(EVENT, uuid4(), "delivered")
        assert await validate_checks(postgres.database_url, WITHIN) > 0


async def test_a_day_that_is_dropped_meanwhile_is_left_out(connection, postgres):
    rest = [name for place, name in await unproved(connection) if place != DAY]
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(f"DROP TABLE {DAY}")
    task = asyncio.create_task(validate_checks(postgres.database_url, WITHIN))
    other = await asyncpg.connect(dsn(postgres.database_url))
    async with asyncio.timeout(WITHIN):
        while not await other.fetchval(WAITING):
            await asyncio.sleep(0.02)
    await other.close()
    await transaction.commit()
    assert await task == len(rest)
    assert await unproved(connection) == []
