"""Beside the consumer: gauges, partitions ahead of time, and what is past its use."""

import asyncio
import time
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from mailwarren.store.engine import AWAY, driver_connect
from mailwarren.tracker import metrics
from mailwarren.tracker.adapters.partitions import Partitions

if TYPE_CHECKING:
    from asyncpg import Connection, Record

log = structlog.get_logger()

LOOK_EVERY = 15.0
TIDY_EVERY = 3600.0
CLAIMS_FOR = "3 days"
"""No mail lives longer than 48 h, so a claim or an early cancel of that age belongs to none."""

_OPEN = """
SELECT lane, state, count(*), extract(epoch FROM now() - min(coalesce(accepted_at, updated_at)))::float8
FROM deliveries WHERE ended_at IS NULL GROUP BY lane, state
"""


class Upkeep:
    """Periodic work over connections of its own."""

    def __init__(self, engine: AsyncEngine, partitions: Partitions) -> None:
        self._engine = engine
        self._partitions = partitions
        self._tidied = 0.0
        self.available = True
        """Whether the database answered the last time."""

    async def run(self, stop: asyncio.Event) -> None:
        """Look and tidy until ``stop`` is set. A database that is away is not looked at, and that is all."""
        while not stop.is_set():
            try:
                await self.turn(time.time())
                self.available = True
            except AWAY as error:
                self.available = False
                log.warning("tracker.upkeep.failed", error=f"{type(error).__name__}: {error}")
            try:
                async with asyncio.timeout(LOOK_EVERY):
                    await stop.wait()
            except TimeoutError:
                continue

    async def turn(self, now: float) -> None:
        """Set the gauges, and tidy when it is time.

        Raises:
            Exception: one of :data:`mailwarren.store.engine.AWAY`.
        """
        async with driver_connect(self._engine) as connection:
            if now - self._tidied >= TIDY_EVERY:
                await self._tidy(connection, now)
                self._tidied = now
            await _look(connection)

    async def _tidy(self, connection: "Connection[Record]", now: float) -> None:
        await self._partitions.make(connection, self._partitions.ahead(now), now)
        await self._partitions.drop_old(connection, now)
        for table in ("claims", "cancels"):
            await connection.execute(f"DELETE FROM {table} WHERE at < now() - interval '{CLAIMS_FOR}'")  # noqa: S608


async def _look(connection: "Connection[Record]") -> None:
    counts: dict[tuple[str, str], int] = {}
    oldest: dict[str, float] = {}
    for lane, state, number, age in await connection.fetch(_OPEN):
        counts[lane, state] = number
        oldest[lane] = max(oldest.get(lane, 0.0), age)
    metrics.record_open(counts, oldest)
