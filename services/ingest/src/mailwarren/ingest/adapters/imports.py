"""Imports of contacts as the API has them: the file comes in piece by piece, then it is queued, seen and canceled.

While the file comes in, its import is ``uploading`` and nobody sees it. What a caller or this process leaves behind by
going away is deleted by retention.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import msgspec

from mailwarren.contracts.ids import new_id
from mailwarren.ingest.adapters.database import Database
from mailwarren.ingest.adapters.keyset import fetch_page
from mailwarren.ingest.domain.cursor import Page
from mailwarren.ingest.domain.imports.request import Asked, Plan
from mailwarren.ingest.domain.imports.rows import Failure
from mailwarren.store.states import ImportState

AT_ONCE = 100
"""Failed rows read at once for a report: some megabytes where they are as long as they may be."""
_BEGIN = """
INSERT INTO contact_imports (tenant, id, state, filename, due_at, created_at, updated_at)
VALUES ($1, $2, 'uploading', '', now(), now(), now())
"""
_CHUNK = "INSERT INTO contact_import_chunks (tenant, import_id, starts, data) VALUES ($1, $2, $3, $4)"
_ABANDON = "DELETE FROM contact_imports WHERE tenant = $1 AND id = $2 AND state = 'uploading'"
_QUEUE = """
UPDATE contact_imports SET state = 'queued', filename = $3, plan = $4::jsonb, on_conflict = $5, segments = $6,
  choices = $7::jsonb, size = $8, position = $9, line = $10, due_at = now(), created_at = now(), updated_at = now()
WHERE tenant = $1 AND id = $2 AND state = 'uploading' RETURNING id
"""
_SELECT = """
SELECT id, state, filename, plan, on_conflict, size, position, created, updated, skipped, failed, error, created_at,
  ended_at
FROM contact_imports WHERE tenant = $1 AND state <> 'uploading'
"""
_CANCEL = """
UPDATE contact_imports SET state = 'canceled', error = 'Canceled.', holder = NULL, ended_at = now(), updated_at = now()
WHERE tenant = $1 AND id = $2 AND state IN ('queued', 'in_progress') RETURNING id
"""
_ERRORS = """
SELECT number, line, cells, error FROM contact_import_errors
WHERE tenant = $1 AND import_id = $2 AND number > $3 ORDER BY number LIMIT $4
"""


class Imports:
    """The imports of all tenants. Every method may raise ``DatabaseDown``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, tenant: UUID) -> UUID:
        """An import whose file is coming in; its id."""
        ident = new_id()
        await self._database.fetch(_BEGIN, tenant, ident)
        return ident

    async def keep(self, tenant: UUID, ident: UUID, starts: int, data: bytes) -> None:
        """A piece of its file."""
        await self._database.fetch(_CHUNK, tenant, ident, starts, data)

    async def abandon(self, tenant: UUID, ident: UUID) -> None:
        """Delete one whose file did not come in."""
        await self._database.fetch(_ABANDON, tenant, ident)

    async def queue(self, tenant: UUID, ident: UUID, stored: "Stored") -> bool:
        """All of the file is there: give it to the workers. Whether there still was such an import."""
        rows = await self._database.fetch(
            _QUEUE, tenant, ident, stored.filename, _json(stored.plan), stored.asked.on_conflict,
            list({ref.id for ref in stored.asked.segments}), _json(stored.asked.topics),
            stored.size, stored.position, stored.line,
        )  # fmt: skip
        return bool(rows)

    async def get(self, tenant: UUID, ident: UUID) -> Any:
        """An import's row, or None."""
        return await self._database.fetchrow(f"{_SELECT} AND id = $2", tenant, ident)

    async def page(self, tenant: UUID, page: Page, states: Sequence[ImportState] | None) -> list[Any]:
        """Rows of a page in reading order; with ``states`` only of these."""
        if states is None:
            return await fetch_page(self._database, _SELECT, "id", page, tenant)
        return await fetch_page(self._database, f"{_SELECT} AND state = ANY($2)", "id", page, tenant, list(states))

    async def cancel(self, tenant: UUID, ident: UUID) -> bool:
        """Stop it after the batch in hand; whether it had not ended yet."""
        return bool(await self._database.fetch(_CANCEL, tenant, ident))

    async def failures(self, tenant: UUID, ident: UUID) -> AsyncIterator[list[Failure]]:
        """The rows that failed, in their order."""
        after = 0
        while True:
            rows = await self._database.fetch(_ERRORS, tenant, ident, after, AT_ONCE)
            if rows:
                yield [
                    Failure(row["number"], row["line"], msgspec.json.decode(row["cells"], type=list[str]), row["error"])
                    for row in rows
                ]
                after = rows[-1]["number"]
            if len(rows) < AT_ONCE:
                return


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is all there: how it is read, what is asked, how long it is as stored, and where its rows begin."""

    filename: str
    plan: Plan
    asked: Asked
    size: int
    position: int
    line: int


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
