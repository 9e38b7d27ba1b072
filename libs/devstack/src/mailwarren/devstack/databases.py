"""Databases on a Postgres server, for code that has no event loop of its own."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg

T = TypeVar("T")
_CONNECT_SECONDS = 10.0


def with_database(url: str, name: str) -> str:
    """``url`` with another database name; its options stay."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def can_query(url: str) -> bool:
    """Whether the server answers a query."""
    try:
        return bool(run_apart(_fetch(url, "SELECT 1", timeout=3)) == 1)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
        return False


def create_database(server_url: str, name: str) -> None:
    """Creates a database unless it is there. ``server_url`` names any database of the server that exists."""
    if run_apart(_fetch(server_url, "SELECT 1 FROM pg_database WHERE datname = $1", name)) is None:
        run_apart(_fetch(server_url, f'CREATE DATABASE "{name}"'))


def drop_database(server_url: str, name: str) -> None:
    """Drops a database, connected clients or not; none is fine."""
    run_apart(_fetch(server_url, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))


def run_apart(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine to its end in a thread of its own, whatever loop the caller may be in."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(asyncio.run(work))
        except BaseException as error:  # noqa: BLE001 - handed to the caller below
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


async def _fetch(url: str, statement: str, *arguments: object, timeout: float = _CONNECT_SECONDS) -> Any:  # noqa: ASYNC109
    from mailwarren.store.engine import dsn  # brings SQLAlchemy, half a second that a run without a database saves

    connection = await asyncpg.connect(dsn(url), timeout=timeout)
    try:
        return await connection.fetchval(statement, *arguments)
    finally:
        await connection.close()
