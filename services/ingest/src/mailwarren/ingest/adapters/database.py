"""Postgres as ingest uses it: short statements with a time limit each, and one exception for "not now"."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import asyncpg

from mailwarren.store.engine import dsn

CONNECT_TIMEOUT = 3.0
STATEMENT_TIMEOUT = 5.0
# Classes of SQLSTATE in which the server is away, full, closed to us, or ends our statement.
_AWAY = ("08", "28", "3D", "53", "57", "58")
_NOT_YET = frozenset({"42P01", "25006"})
"""A schema that is not migrated, and a standby that still is read-only after a failover."""

Rows = "list[asyncpg.Record]"


class DatabaseDown(Exception):
    """Postgres did not answer, or not in time. Whether a write was done is unknown."""


class _Connection(asyncpg.Connection):  # type: ignore[misc]  # untyped base
    def get_reset_query(self) -> str:
        """Nothing: our statements change no session state, and the query would be a round trip on every release."""
        return ""


class Database:
    """A pool of connections that are made when they are needed; the server may come and go.

    Args:
        url: as :func:`mailwarren.store.engine.dsn` takes it.
        size: connections at most.
    """

    def __init__(self, url: str, size: int) -> None:
        self._dsn = dsn(url)
        self._size = size
        self._pool: Any = None

    async def __aenter__(self) -> Self:
        self._pool = await asyncpg.create_pool(
            self._dsn,
            min_size=0,
            max_size=self._size,
            timeout=CONNECT_TIMEOUT,
            command_timeout=STATEMENT_TIMEOUT,
            connection_class=_Connection,
            server_settings={"application_name": "mailwarren-ingest", "timezone": "UTC"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._pool.terminate()

    @asynccontextmanager
    async def connection(self, within: float = STATEMENT_TIMEOUT) -> AsyncIterator[Any]:
        """An asyncpg connection, for transactions.

        Raises:
            DatabaseDown: no connection in time, or it broke inside.
        """
        try:
            async with self._pool.acquire(timeout=within) as connection:
                yield connection
        except (
            OSError,
            TimeoutError,
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,
            asyncpg.PostgresError,
        ) as error:
            if _away(error):
                raise DatabaseDown(f"{type(error).__name__}: {error}") from error
            raise

    async def fetch(self, sql: str, *values: object, within: float = STATEMENT_TIMEOUT) -> list[Any]:
        """The rows of a statement.

        Raises:
            DatabaseDown: not answered within ``within`` seconds (waiting for a connection included, twice at most).
        """
        async with self.connection(within) as connection:
            rows: list[Any] = await connection.fetch(sql, *values, timeout=within)
            return rows

    async def fetchrow(self, sql: str, *values: object) -> Any:
        """The first row of a statement, or None.

        Raises:
            DatabaseDown: see :meth:`fetch`.
        """
        rows = await self.fetch(sql, *values)
        return rows[0] if rows else None


def _away(error: Exception) -> bool:
    if isinstance(error, asyncpg.PostgresError):
        state = getattr(error, "sqlstate", None) or ""
        return state[:2] in _AWAY or state in _NOT_YET
    return True
