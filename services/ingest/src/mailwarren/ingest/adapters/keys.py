"""API keys: all of them in memory, so that mail is accepted while Postgres is away.

Every process asks once a second for the rows that changed, deleted ones included: a deleted key is refused by every
process within two seconds, by the one that deleted it at once.
"""

import asyncio
import contextlib
import secrets
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from mailwarren.contracts.ids import new_id
from mailwarren.ingest.adapters.database import Database, DatabaseDown
from mailwarren.ingest.domain.cursor import Page
from mailwarren.ingest.domain.keys import ApiKey
from mailwarren.ingest.domain.refusal import invalid_key, unavailable
from mailwarren.ingest.domain.requests import Permission
from mailwarren.ingest.domain.tokens import new_token, shown_prefix, token_hash
from mailwarren.ingest.metrics import record_keys_refreshed
from mailwarren.store.engine import database_trouble

log = structlog.get_logger()

REFRESH = 1.0
OVERLAP = timedelta(seconds=10)
"""Looked back over at each refresh: a row's time is taken before its transaction is visible."""
SAVE_USE = 10.0

_ALL = """
SELECT id, tenant, permission, domains, hash, deleted_at, clock_timestamp() AS now
FROM api_keys WHERE deleted_at IS NULL
"""
_CHANGED = """
SELECT id, tenant, permission, domains, hash, deleted_at, clock_timestamp() AS now
FROM api_keys WHERE updated_at >= $1
"""
_BY_HASH = "SELECT id, tenant, permission, domains, hash, deleted_at FROM api_keys WHERE hash = $1"
_INSERT = """
INSERT INTO api_keys (id, tenant, name, permission, domains, prefix, hash, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, clock_timestamp(), clock_timestamp())
"""
_USED = """
UPDATE api_keys k SET last_used_at = greatest(k.last_used_at, used.at)
FROM unnest($1::uuid[], $2::timestamptz[]) AS used(id, at) WHERE k.id = used.id
"""
_SHOWN = "id, name, created_at, last_used_at, permission, domains, prefix"


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made; the only time that its token is known."""

    id: UUID
    token: str


class Keys:
    """The keys of all tenants."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._by_hash: dict[bytes, ApiKey] = {}
        self._hash_of: dict[UUID, bytes] = {}
        self._since: datetime | None = None
        self._used: dict[UUID, float] = {}
        self.trouble = "the keys have not been read yet"
        """Why they could not be read the last time."""

    @property
    def loaded(self) -> bool:
        """All keys were read once; before that no request can be told apart from an unknown one."""
        return self._since is not None

    async def find(self, token: str) -> ApiKey:
        """The key of a token.

        Raises:
            Refusal: 403, unknown or deleted; 503, it cannot be known right now.
        """
        digest = token_hash(token)
        key = self._by_hash.get(digest) or await self._look_up(digest)
        if key is None:
            raise invalid_key()
        self._used[key.id] = time.time()
        return key

    async def name_of(self, key: ApiKey) -> str:
        """The name that people know a key by; its id while the database is away."""
        try:
            row = await self._database.fetchrow("SELECT name FROM api_keys WHERE id = $1", key.id)
        except DatabaseDown:
            row = None
        return str(key.id if row is None else row["name"])

    async def _look_up(self, digest: bytes) -> ApiKey | None:
        # A key that another process made within the last second.
        try:
            row = await self._database.fetchrow(_BY_HASH, digest)
        except DatabaseDown as error:
            raise unavailable("This API key cannot be checked right now.") from error
        if row is None:
            return None
        self._take(row)
        return self._by_hash.get(digest)

    def _take(self, row: Any) -> None:
        if row["deleted_at"] is not None:
            self._forget(row["id"])
            return
        domains = None if row["domains"] is None else tuple(row["domains"])
        key = ApiKey(UUID(str(row["id"])), UUID(str(row["tenant"])), Permission(row["permission"]), domains)
        self._by_hash[row["hash"]] = key
        self._hash_of[key.id] = row["hash"]

    def _forget(self, ident: UUID) -> None:
        digest = self._hash_of.pop(ident, None)
        if digest is not None:
            self._by_hash.pop(digest, None)

    # Following the table

    async def refresh(self) -> None:
        """Read what changed (everything, the first time).

        Raises:
            DatabaseDown: nothing changed here.
        """
        if self._since is None:
            now = (await self._database.fetchrow("SELECT clock_timestamp() AS now"))["now"]
            rows = await self._database.fetch(_ALL)
        else:
            rows = await self._database.fetch(_CHANGED, self._since - OVERLAP)
            now = max((row["now"] for row in rows), default=self._since)
        for row in rows:
            self._take(row)
        self._since = now
        record_keys_refreshed(time.time())

    async def follow(self) -> None:
        """Refresh for ever, and now and then save when keys were used."""
        down = False
        saved = time.monotonic()
        while True:
            try:
                await self.refresh()
                if down:
                    log.info("ingest.keys.readable")
                down = False
                if time.monotonic() - saved > SAVE_USE:
                    saved = time.monotonic()
                    # Not written on a standby that is still read-only: the keys are known all the same.
                    with contextlib.suppress(DatabaseDown):
                        await self.save_use()
            except DatabaseDown as error:
                self.trouble = database_trouble(error.__cause__ or error)
                if not down:
                    log.warning("ingest.keys.unreadable", error=str(error), loaded=self.loaded)
                down = True
            except Exception as error:
                self.trouble = database_trouble(error)
                # Whatever the reason, keys must be followed again: a deleted key would stay valid for ever.
                log.exception("ingest.keys.failed")
            await asyncio.sleep(REFRESH)

    async def save_use(self) -> None:
        """Write ``last_used_at`` of the keys used since the last time.

        Raises:
            DatabaseDown: kept for the next time.
        """
        if not self._used:
            return
        used = dict(self._used)
        moments = [datetime.fromtimestamp(at).astimezone() for at in used.values()]
        await self._database.fetch(_USED, list(used), moments)
        self._used = {ident: at for ident, at in self._used.items() if used.get(ident) != at}

    # What the endpoints do

    async def create(self, tenant: UUID, name: str, permission: Permission, domains: list[str] | None) -> NewKey:
        """Make a key, valid here at once.

        Raises:
            DatabaseDown: it was not made.
        """
        key, token = (
            ApiKey(new_id(), tenant, permission, tuple(domains) if domains else None),
            new_token(secrets.choice),
        )
        digest = token_hash(token)
        await self._database.fetch(
            _INSERT, key.id, tenant, name, permission.value, domains, shown_prefix(token), digest
        )
        self._by_hash[digest], self._hash_of[key.id] = key, digest
        return NewKey(key.id, token)

    async def rename(self, tenant: UUID, ident: UUID, name: str) -> bool:
        """Whether there was such a key."""
        rows = await self._database.fetch(
            "UPDATE api_keys SET name = $3, updated_at = clock_timestamp() "
            "WHERE tenant = $1 AND id = $2 AND deleted_at IS NULL RETURNING id",
            tenant, ident, name,
        )  # fmt: skip
        return bool(rows)

    async def delete(self, tenant: UUID, ident: UUID) -> bool:
        """Refuse the key from now on; whether there was such a key."""
        rows = await self._database.fetch(
            "UPDATE api_keys SET deleted_at = clock_timestamp(), updated_at = clock_timestamp() "
            "WHERE tenant = $1 AND id = $2 AND deleted_at IS NULL RETURNING id",
            tenant, ident,
        )  # fmt: skip
        if rows:
            self._forget(ident)
        return bool(rows)

    async def page(self, tenant: UUID, page: Page) -> list[Any] | None:
        """Rows of a page in reading order, or None when the cursor is no key of the tenant."""
        cursor = page.after or page.before
        if cursor is None:
            sql = f"SELECT {_SHOWN} FROM api_keys WHERE tenant = $1 AND deleted_at IS NULL "  # noqa: S608 - constants
            return await self._database.fetch(sql + "ORDER BY created_at DESC, id DESC LIMIT $2", tenant, page.fetch)
        at = await self._database.fetchrow(
            "SELECT created_at FROM api_keys WHERE tenant = $1 AND id = $2", tenant, cursor
        )
        if at is None:
            return None
        sign, order = ("<", "DESC") if page.after else (">", "ASC")
        sql = (
            f"SELECT {_SHOWN} FROM api_keys WHERE tenant = $1 AND deleted_at IS NULL "  # noqa: S608 - constants
            f"AND (created_at, id) {sign} ($2, $3) ORDER BY created_at {order}, id {order} LIMIT $4"
        )
        return await self._database.fetch(sql, tenant, at["created_at"], cursor, page.fetch)
