"""Connections: a SQLAlchemy engine over asyncpg, and the asyncpg connection below it for the hot paths."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import asyncpg
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

CONNECT_TIMEOUT = 5.0
STATEMENT_TIMEOUT = 30.0
ANSWER_SLACK = 5.0
"""Seconds beyond the statement timeout after which the server itself is taken for gone."""

AWAY: tuple[type[Exception], ...] = (
    OSError,
    TimeoutError,
    SQLAlchemyError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
"""What any use of the database may raise while the server is away, restarts or ends sessions.

The last one is what asyncpg raises for a session that the server ended while it was idle.
"""


_KNOWN = {
    "28": "Postgres refused the user or the password",
    "3D": "there is no such database",
    "53": "Postgres has no room for another connection",
    "57": "Postgres is starting, stopping or ending sessions",
    "42501": "Postgres denied something to this role",
    "42P01": "a table is missing",
}
"""What SQLSTATEs, or their classes, mean to who runs the service."""


def database_trouble(error: BaseException) -> str:
    """Why the database cannot be used, in words for a person."""
    # SQLAlchemy's errors come from asyncpg's.
    while error.__cause__ is not None and not isinstance(error, OSError | asyncpg.PostgresError):
        error = error.__cause__
    said = f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        meaning = _KNOWN.get(state) or _KNOWN.get(state[:2])
        return f"{meaning}: {said}" if meaning else said
    return f"no Postgres: {said}" if isinstance(error, OSError | TimeoutError) else said


def dsn(url: str) -> str:
    """``url`` as asyncpg reads it: ``postgresql+asyncpg://`` is accepted for ``postgresql://``.

    Raises:
        ValueError: not a Postgres URL. The message leaves the URL out, because it holds a password.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in {"postgresql", "postgres", "postgresql+asyncpg"}:
        raise ValueError("a database URL starts with postgresql:// or postgresql+asyncpg://")
    return f"postgresql://{rest}"


_NOT_THIS_HOST = (OSError, TimeoutError, asyncpg.CannotConnectNowError, asyncpg.TargetServerAttributeNotMatched)
"""What says that another host may be the one: nobody there, it starts or stops, or it only takes reads."""


def dsns(url: str) -> list[str]:
    """``url`` as asyncpg reads it, once for each of its hosts.

    asyncpg knows several hosts too, but one timeout for all of them: a first host that is silent takes it up.

    Raises:
        ValueError: not a Postgres URL.
    """
    scheme, separator, rest = dsn(url).partition("://")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    login, at, hosts = authority.rpartition("@")
    tail = rest[len(authority) :]
    return [f"{scheme}{separator}{login}{at}{host}{tail}" for host in hosts.split(",")]


def make_engine(
    url: str,
    *,
    pool_size: int = 5,
    max_overflow: int = 5,
    connect_timeout: float = CONNECT_TIMEOUT,
    statement_timeout: float = STATEMENT_TIMEOUT,
    application_name: str = "mailwarren",
) -> AsyncEngine:
    """An engine; nothing is connected yet.

    The URL is parsed by asyncpg, so that ``sslmode``, socket directories and several hosts work as with libpq.

    Args:
        url: ``postgresql://user:password@host:port/database?sslmode=…`` or the same with ``postgresql+asyncpg``.
            Of several hosts (``host:port,host:port``) the first that answers; with ``target_session_attrs=read-write``
            the first that takes writes.
        pool_size: connections that are kept.
        max_overflow: connections beyond those, closed after use.
        connect_timeout: seconds for a new connection, over all hosts, and to wait for one of the pool.
        statement_timeout: seconds after which the server ends a statement; a server that does not answer at all is
            given up 5 s later. A transaction that sits idle for as long is ended too, so that the locks of a
            vanished client are freed.
        application_name: shown in ``pg_stat_activity``.

    Raises:
        ValueError: not a Postgres URL.
    """
    addresses = dsns(url)
    milliseconds = str(int(statement_timeout * 1000))

    async def connect_to(address: str) -> Any:
        return await asyncpg.connect(
            address,
            # A host that is silent, as one without power is, leaves the others their share of the time.
            timeout=connect_timeout / len(addresses),
            command_timeout=statement_timeout + ANSWER_SLACK,
            server_settings={
                "application_name": application_name,
                "statement_timeout": milliseconds,
                "idle_in_transaction_session_timeout": milliseconds,
                "timezone": "UTC",
            },
        )

    async def connect() -> Any:
        for address in addresses[:-1]:
            with suppress(*_NOT_THIS_HOST):
                return await connect_to(address)
        return await connect_to(addresses[-1])

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_timeout=connect_timeout,
        pool_pre_ping=True,
    )


async def driver_connection(connection: AsyncConnection) -> "asyncpg.Connection[asyncpg.Record]":
    """The asyncpg connection below a SQLAlchemy connection.

    For statements over arrays (``unnest``), where SQLAlchemy costs more than Postgres. Transactions are the caller's
    own then: ``async with raw.transaction(): …``.
    """
    raw = await connection.get_raw_connection()
    return cast("asyncpg.Connection[asyncpg.Record]", raw.driver_connection)


@asynccontextmanager
async def driver_connect(engine: AsyncEngine) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """An asyncpg connection of the engine's pool, given back at the end."""
    async with engine.connect() as connection:
        yield await driver_connection(connection)
