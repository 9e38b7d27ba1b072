"""Privacy requests as the API has them: made, seen, their export read, and deleted."""

import zlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from mailwarren.contracts.ids import new_id
from mailwarren.ingest.adapters.database import Database
from mailwarren.ingest.adapters.erased import admit
from mailwarren.ingest.adapters.keyset import fetch_page
from mailwarren.ingest.domain.cursor import Page
from mailwarren.store.states import PrivacyKind

_SELECT = """
SELECT id, kind, state, address, stage, counts, parts, size, error, created_at, updated_at, ended_at
FROM privacy_requests WHERE tenant = $1
"""
# Asked for twice, one is made: calls that come at the same time may make two, which does no harm.
_CREATE = """
WITH open AS (
  SELECT id FROM privacy_requests
  WHERE tenant = $1 AND kind = $3 AND address = $4 AND state IN ('queued', 'in_progress') LIMIT 1
), made AS (
  INSERT INTO privacy_requests (tenant, id, kind, state, address, due_at, created_at, updated_at)
  SELECT $1, $2, $3, 'queued', $4, now(), now(), now() WHERE NOT EXISTS (SELECT FROM open) RETURNING id
)
SELECT id FROM made UNION ALL SELECT id FROM open
"""
_DELETE = """
DELETE FROM privacy_requests WHERE tenant = $1 AND id = $2 AND state IN ('completed', 'failed') RETURNING 1
"""
_PART = """
SELECT number, kind, data FROM privacy_parts WHERE tenant = $1 AND request = $2 AND number >= $3 ORDER BY number LIMIT 1
"""


class Privacy:
    """The requests of all tenants. Every method may raise ``DatabaseDown``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, tenant: UUID, kind: PrivacyKind, address: str) -> UUID:
        """A request, or the one of this kind that is under way for the address; its id."""
        row = await self._database.fetchrow(_CREATE, tenant, new_id(), kind.value, address)
        return UUID(str(row["id"]))

    async def get(self, tenant: UUID, ident: UUID) -> Any:
        """A request's row, or None."""
        return await self._database.fetchrow(f"{_SELECT} AND id = $2", tenant, ident)

    async def page(self, tenant: UUID, page: Page) -> list[Any]:
        """Rows of a page in reading order."""
        return await fetch_page(self._database, _SELECT, "id", page, tenant)

    async def delete(self, tenant: UUID, ident: UUID) -> bool:
        """Delete one that has ended, with its file; whether there was such a one."""
        return bool(await self._database.fetch(_DELETE, tenant, ident))

    async def parts(self, tenant: UUID, ident: UUID) -> AsyncIterator[tuple[str, bytes]]:
        """What an export found, piece by piece: a kind of record, and lines of it. Those of a kind are together."""
        number = 0
        while rows := await self._database.fetch(_PART, tenant, ident, number):
            [row] = rows
            yield row["kind"], zlib.decompress(row["data"])
            number = row["number"] + 1

    async def admit(self, tenant: UUID, address: str) -> bool:
        """Let an erased address have mail again; whether it had been erased."""
        return await admit(self._database, tenant, address)
