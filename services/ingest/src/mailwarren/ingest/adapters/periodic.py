"""Periodic jobs in Postgres. Times are the server's, so that processes with different clocks agree."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from mailwarren.contracts.order import Order
from mailwarren.ingest.adapters.database import Database
from mailwarren.ingest.domain.periods import next_run

AT_ONCE = 20
"""Jobs released in one transaction."""
TEXT = 500
"""Characters of a result or trouble that are kept."""
_RUNS = UUID("6d77006f-7073-5072-8000-000000000001")

_REGISTER = """
INSERT INTO periodic_jobs (name, every, next_run_at) SELECT name, every, now()
FROM unnest($1::text[], $2::float8[]) AS t (name, every) ORDER BY name
ON CONFLICT (name) DO UPDATE SET every = excluded.every,
  next_run_at = least(periodic_jobs.next_run_at, now() + excluded.every * interval '1 second')
WHERE periodic_jobs.every <> excluded.every
"""
_DUE = """
SELECT name, every, next_run_at, now() AS now FROM periodic_jobs
WHERE next_run_at <= now() AND name = ANY($1::text[]) ORDER BY next_run_at, name LIMIT $2 FOR UPDATE SKIP LOCKED
"""
_RELEASED = """
UPDATE periodic_jobs SET run_id = $2, due_at = next_run_at, next_run_at = $3, released_at = now(), started_at = NULL,
  ended_at = NULL, attempt = NULL
WHERE name = $1
"""
# FOR UPDATE: an order may arrive before the scheduler that published it has committed, and then waits for it here.
_CURRENT = "SELECT run_id, ended_at FROM periodic_jobs WHERE name = $1 FOR UPDATE"
_STARTED = "UPDATE periodic_jobs SET started_at = now(), attempt = $2 WHERE name = $1"
_STATES = """
SELECT name, every, extract(epoch FROM now())::float8 AS at,
  greatest(0, extract(epoch FROM now() - least(next_run_at, CASE WHEN ended_at IS NULL THEN due_at END)))::float8
    AS overdue,
  CASE WHEN trouble IS NULL THEN extract(epoch FROM ended_at)::float8 END AS done_at
FROM periodic_jobs WHERE name = ANY($1::text[])
"""
"""``least`` passes over a null: a run that was released and has not ended is overdue since it was due."""
_ENDED = """
UPDATE periodic_jobs SET ended_at = now(), result = $3, trouble = NULL, runs = runs + 1 WHERE name = $1 AND run_id = $2
"""
_FAILED = """
UPDATE periodic_jobs SET trouble = $3, ended_at = CASE WHEN $4 THEN now() END WHERE name = $1 AND run_id = $2
"""


@dataclass(frozen=True, slots=True)
class Due:
    """A job to release: its order, and how many seconds late it is."""

    order: Order
    late: float


@dataclass(frozen=True, slots=True)
class JobState:
    """How it stands with a job.

    Attributes:
        every: seconds between two runs.
        at: when this was so (Unix seconds).
        overdue: seconds since the run was due that is to be carried out now; 0 when none is. A run that was released
            and not carried out is replaced by the next one, which was due later.
        done_at: when the last run ended well (Unix seconds); None when that is not known, or one is under way.
    """

    work: str
    every: float
    at: float
    overdue: float
    done_at: float | None


class PeriodicJobs:
    """The scheduler's side and the worker's side of ``periodic_jobs``. Every method may raise ``DatabaseDown``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def register(self, every: Mapping[str, float]) -> None:
        """Jobs by name, and how many seconds apart they run. A new one is due at once."""
        await self._database.fetch(_REGISTER, list(every), list(every.values()))

    @asynccontextmanager
    async def due(self, names: list[str]) -> AsyncIterator[list[Due]]:
        """Jobs that are due and that no other scheduler has in hand. They are released when the block ends well.

        What is overdue is released once, however many times it was missed.
        """
        async with self._database.connection() as connection, connection.transaction():
            rows = await connection.fetch(_DUE, names, AT_ONCE)
            found = [_due(row) for row in rows]
            yield found
            for row, due in zip(rows, found, strict=True):
                after = next_run(row["next_run_at"], row["every"], row["now"])
                await connection.execute(_RELEASED, row["name"], due.order.id, after)

    async def states(self, names: list[str]) -> list[JobState]:
        """How it stands with those of the jobs that are registered."""
        return [JobState(*row) for row in await self._database.fetch(_STATES, names)]

    async def start(self, order: Order) -> bool:
        """Whether this is the run that the job waits for: not one that has ended, nor one that a newer has replaced."""
        async with self._database.connection() as connection, connection.transaction():
            row = await connection.fetchrow(_CURRENT, order.work)
            if row is None or row["run_id"] is None or UUID(str(row["run_id"])) != order.id or row["ended_at"]:
                return False
            await connection.execute(_STARTED, order.work, order.attempt)
            return True

    async def end(self, order: Order, result: str) -> None:
        """The run is done."""
        await self._database.fetch(_ENDED, order.work, order.id, result[:TEXT])

    async def fail(self, order: Order, trouble: str, *, last: bool) -> None:
        """A try of the run failed; ``last`` when there is no other."""
        await self._database.fetch(_FAILED, order.work, order.id, trouble[:TEXT], last)


def _due(row: Any) -> Due:
    due: datetime = row["next_run_at"]
    order = Order(id=uuid5(_RUNS, f"{row['name']}/{due.isoformat()}"), work=row["name"], due_at=due.timestamp())
    return Due(order, (row["now"] - due).total_seconds())
