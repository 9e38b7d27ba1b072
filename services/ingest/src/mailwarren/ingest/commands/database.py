"""``mailwarren migrate`` and ``mailwarren keys bootstrap``: bring the database up to date, and make the first key."""

import asyncio
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import asyncpg
from sqlalchemy.exc import SQLAlchemyError

from mailwarren.contracts.ids import new_id
from mailwarren.ingest.adapters.database import Database, DatabaseDown
from mailwarren.ingest.commands import Failed
from mailwarren.ingest.domain.keys import check_domains, check_name
from mailwarren.ingest.domain.refusal import Refusal
from mailwarren.ingest.domain.requests import Permission
from mailwarren.ingest.domain.tokens import new_token, shown_prefix, token_hash
from mailwarren.store.migrate import Unserved, upgrade

T = TypeVar("T")

DEFAULT_TENANT = "default"
_TOKEN = re.compile(r"mw_[0-9A-Za-z]{32,128}")
_PAUSE = 0.5
_LOCK = 0x6D77626F6F74
_KEY = """
INSERT INTO api_keys (id, tenant, name, permission, domains, prefix, hash, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, clock_timestamp(), clock_timestamp())
ON CONFLICT (hash) DO UPDATE SET name = excluded.name RETURNING id, deleted_at
"""


class KeyDeleted(Failed):
    """The token belongs to a key that somebody deleted."""


async def migrate(url: str, wait: float) -> str:
    """Run the missing migrations.

    Raises:
        Failed: no database within ``wait`` seconds, a migration failed, or the schema is of a newer version that does
            not serve this one.
    """
    try:
        return await patiently(lambda: upgrade(url), wait)
    except Unserved as error:
        raise Failed(f"nothing was migrated: {error}") from error
    except (OSError, SQLAlchemyError, asyncpg.PostgresError) as error:
        raise Failed(f"the database could not be migrated: {type(error).__name__}: {error}") from error


async def bootstrap(url: str, name: str, domains: list[str] | None, token: str | None, wait: float) -> dict[str, str]:
    """Make the tenant, when there is none, and a full-access key for it.

    Args:
        url: of the database.
        name: of the key.
        domains: that the key may send from; None for any.
        token: a token to install, so that the call can be repeated; None makes a new one each time.
        wait: seconds for the database to come up.

    Raises:
        Failed: no database, or a value that cannot be used.
    """
    if token is not None and not _TOKEN.fullmatch(token):
        raise Failed("a token is mw_ and 32 to 128 letters and digits")
    try:
        name, allowed = check_name(name), check_domains(domains)
    except Refusal as refusal:
        raise Failed(refusal.message) from refusal
    async with Database(url, 1) as database:
        try:
            return await patiently(lambda: _make(database, name, allowed, token), wait)
        except DatabaseDown as error:
            raise Failed(f"no usable database after {wait:g} s ({error}); run: mailwarren migrate") from error


async def _make(database: Database, name: str, domains: list[str] | None, given: str | None) -> dict[str, str]:
    token = given or new_token(secrets.choice)
    async with database.connection() as connection, connection.transaction():
        # Two bootstraps at once must not make two tenants.
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        tenant = await _tenant(connection)
        row = await connection.fetchrow(
            _KEY, new_id(), tenant, name, Permission.FULL.value, domains, shown_prefix(token), token_hash(token)
        )
    if row["deleted_at"] is not None:
        raise KeyDeleted("this token belongs to a key that was deleted: choose another")
    return {"id": str(row["id"]), "token": token}


async def _tenant(connection: Any) -> Any:
    row = await connection.fetchrow("SELECT id FROM tenants ORDER BY created_at, id LIMIT 1")
    if row is None:
        row = await connection.fetchrow(
            "INSERT INTO tenants (id, name, created_at) VALUES ($1, $2, now()) RETURNING id", new_id(), DEFAULT_TENANT
        )
    return row["id"]


async def patiently(work: Callable[[], Awaitable[T]], wait: float) -> T:
    """Work again and again while the database is away, for ``wait`` seconds; then its error."""
    deadline = time.monotonic() + wait
    while True:
        try:
            return await work()
        except (OSError, DatabaseDown, asyncpg.CannotConnectNowError):
            if time.monotonic() >= deadline:
                raise
            await asyncio.sleep(_PAUSE)
