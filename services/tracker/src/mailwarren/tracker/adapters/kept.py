"""A connection that is kept, for statements of which every one finds its rows by their keys."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from mailwarren.store.engine import AWAY, driver_connection

if TYPE_CHECKING:
    from asyncpg import Connection, Record

log = structlog.get_logger()

BY_KEY = "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off"
"""Every statement of a batch finds its rows by their keys. The planner does not know: its counts of a table that grows
by thousands of rows a second are always old, and of one that it takes for small it reads everything, every time."""


class Kept:
    """One connection of an engine, made when it is needed and again after any failure; for one user at a time."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._connection: AsyncConnection | None = None
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def use(self) -> AsyncIterator["Connection[Record]"]:
        """The connection. What fails in here closes it.

        Raises:
            Exception: one of :data:`mailwarren.store.engine.AWAY`.
        """
        async with self._turn:
            try:
                if self._connection is None:
                    self._connection = await self._engine.connect()
                    await (await driver_connection(self._connection)).execute(BY_KEY)
                yield await driver_connection(self._connection)
            except BaseException:
                await self.close()
                raise

    async def close(self) -> None:
        """Give it up; the next use makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                await connection.invalidate()
                await connection.close()
            except AWAY as error:
                log.debug("tracker.store.close_failed", error=str(error))
