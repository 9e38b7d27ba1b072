"""How it stands with periodic jobs, as the scheduler's gauges show it."""

from typing import Any

import asyncpg
import pytest

from mailwarren.contracts.order import Order
from mailwarren.ingest.adapters.database import Database
from mailwarren.ingest.adapters.periodic import JobState, PeriodicJobs
from mailwarren.store import migrate
from mailwarren.store.engine import dsn

pytestmark = pytest.mark.postgres


async def prepared(postgres: Any) -> None:
    connection = await asyncpg.connect(dsn(postgres.database_url))
    try:
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    finally:
        await connection.close()
    await migrate.upgrade(postgres.database_url)


async def state(jobs: PeriodicJobs) -> JobState:
    (found,) = await jobs.states(["job"])
    return found


async def release(jobs: PeriodicJobs) -> Order:
    async with jobs.due(["job"]) as due:
        (one,) = due
    return one.order


async def test_a_run_is_overdue_from_when_it_was_due_until_it_has_ended(postgres: Any) -> None:
    await prepared(postgres)
    async with Database(postgres.database_url, 2) as database:
        jobs = PeriodicJobs(database)
        await jobs.register({"job": 100.0})
        await database.fetch("UPDATE periodic_jobs SET next_run_at = now() - interval '30 s'")
        found = await state(jobs)
        assert (found.work, found.every, found.done_at) == ("job", 100.0, None)
        assert 30 <= found.overdue < 60

        order = await release(jobs)
        found = await state(jobs)
        assert 30 <= found.overdue < 60, "released is not yet carried out"
        assert await jobs.start(order)
        await jobs.end(order, "done")
        found = await state(jobs)
        assert found.overdue == 0
        assert found.done_at is not None
        assert 0 <= found.at - found.done_at < 30


async def test_a_run_that_failed_for_good_is_not_done(postgres: Any) -> None:
    await prepared(postgres)
    async with Database(postgres.database_url, 2) as database:
        jobs = PeriodicJobs(database)
        await jobs.register({"job": 100.0})
        order = await release(jobs)
        assert await jobs.start(order)
        await jobs.fail(order, "trouble", last=True)
        assert (await state(jobs)).done_at is None
