"""Whether the schema is one that this version can work with."""

import asyncio
import contextlib

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from mailwarren.store.engine import AWAY, database_trouble, driver_connect
from mailwarren.store.history import trouble

log = structlog.get_logger()

SCHEMA_LOOK = 1.0
SCHEMA_LOOK_AGAIN = 15.0
"""The same while it runs: a newer version may contract the schema under this one."""


class Schema:
    """Whether the schema is one that this version can work with: what it would write to another would be refused."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self.trouble: str | None = "the schema has not been looked at yet"

    async def wait(self, stop: asyncio.Event) -> bool:
        """Return true when the schema serves, false when ``stop`` was set before."""
        told = ""
        while not stop.is_set():
            await self._look()
            if self.trouble is None:
                return True
            if self.trouble != told:
                log.warning("tracker.schema.waiting", why=self.trouble)
                told = self.trouble
            await _pause(stop, SCHEMA_LOOK)
        return False

    async def watch(self, stop: asyncio.Event, halt: asyncio.Event) -> None:
        """Set ``halt`` when ``stop`` is set, or when the schema does not serve any more."""
        while not stop.is_set():
            await _pause(stop, SCHEMA_LOOK_AGAIN)
            try:
                async with driver_connect(self._engine) as connection:
                    self.trouble = await trouble(connection)
            except AWAY as error:
                log.debug("tracker.schema.unseen", error=database_trouble(error))
            if self.trouble is not None:
                log.warning("tracker.schema.lost", why=self.trouble)
                break
        halt.set()

    async def _look(self) -> None:
        try:
            async with driver_connect(self._engine) as connection:
                self.trouble = await trouble(connection)
        except AWAY as error:
            self.trouble = database_trouble(error)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
