"""Beside the running system: a connection for what comes after the migrations and keeps nobody waiting."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from mailwarren.store.engine import driver_connect, make_engine

if TYPE_CHECKING:
    from asyncpg import Connection, Record

LOCK = 0x6D61_696C_6964_7863
"""Advisory lock key of whoever is at it ("mailidxc")."""
WAIT = 0.5
"""Seconds between two tries to get it. Nobody may wait for it in the database: a statement that waits has a snapshot,
and whoever makes an index waits for those who have an older one."""


@asynccontextmanager
async def alone(url: str, within: float) -> "AsyncIterator[Connection[Record]]":
    """A connection outside of any transaction, one at a time over all processes.

    Args:
        url: of the database, as its owner.
        within: seconds for each statement.

    Raises:
        Exception: one of :data:`.engine.AWAY`, or of Postgres.
    """
    engine = make_engine(
        url, pool_size=1, max_overflow=0, statement_timeout=within, application_name="mailwarren-migrate"
    )
    try:
        async with driver_connect(engine) as connection:
            while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):  # noqa: ASYNC110 - a server's
                await asyncio.sleep(WAIT)
            yield connection
    finally:
        # The connection's end gives the lock back, whatever happened.
        await engine.dispose()
