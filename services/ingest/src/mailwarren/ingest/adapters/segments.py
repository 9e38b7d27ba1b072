"""Segments in Postgres, and who is in them. A deleted one is gone at once; its memberships are removed by retention."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from mailwarren.contracts.ids import new_id
from mailwarren.ingest.adapters.keyset import Runs, fetch_page
from mailwarren.ingest.domain.cursor import Page
from mailwarren.ingest.domain.segments import MAX_SEGMENTS

_SELECT = "SELECT id, name, created_at FROM segments WHERE tenant = $1 AND deleted_at IS NULL"
_INSERT = """
INSERT INTO segments (tenant, id, name, created_at, updated_at)
SELECT $1, $2, $3, now(), now()
WHERE (SELECT count(*) FROM segments WHERE tenant = $1 AND deleted_at IS NULL) < $4
RETURNING id, name, created_at
"""
_RENAME = """
UPDATE segments SET name = $3, updated_at = now() WHERE tenant = $1 AND id = $2 AND deleted_at IS NULL RETURNING id
"""
_DELETE = """
UPDATE segments SET deleted_at = now(), updated_at = now()
WHERE tenant = $1 AND id = $2 AND deleted_at IS NULL RETURNING id
"""
_MISSING = """
SELECT asked.id FROM unnest($2::uuid[]) AS asked(id)
WHERE NOT EXISTS (SELECT FROM segments s WHERE s.tenant = $1 AND s.id = asked.id AND s.deleted_at IS NULL)
"""
# Locked as a foreign key locks them: nobody deletes a contact between our look and our write.
_ADD = """
INSERT INTO contact_segments (tenant, segment, contact)
SELECT c.tenant, s.id, c.id FROM contacts c JOIN segments s ON s.tenant = c.tenant
WHERE c.tenant = $1 AND c.id = ANY($2::uuid[]) AND s.id = ANY($3::uuid[]) AND s.deleted_at IS NULL
ORDER BY s.id, c.id FOR KEY SHARE OF c, s
ON CONFLICT DO NOTHING
"""
_REMOVE = "DELETE FROM contact_segments WHERE tenant = $1 AND segment = $2 AND contact = $3 RETURNING contact"
_HAS = """
SELECT FROM contact_segments m JOIN segments s ON s.tenant = m.tenant AND s.id = m.segment
WHERE m.tenant = $1 AND m.segment = $2 AND m.contact = $3 AND s.deleted_at IS NULL
"""
_OF_CONTACT = """
SELECT s.id, s.name, s.created_at FROM contact_segments m JOIN segments s ON s.tenant = m.tenant AND s.id = m.segment
WHERE m.tenant = $1 AND m.contact = $2 AND s.deleted_at IS NULL
"""


class Segments:
    """The segments of all tenants."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    async def get(self, tenant: UUID, ident: UUID) -> Any:
        """A segment's row, or None."""
        rows = await self._runs.fetch(f"{_SELECT} AND id = $2", tenant, ident)
        return rows[0] if rows else None

    async def page(self, tenant: UUID, page: Page) -> list[Any]:
        """Rows of a page in reading order."""
        return await fetch_page(self._runs, _SELECT, "id", page, tenant)

    async def create(self, tenant: UUID, name: str) -> Any:
        """Make one; None when the tenant has as many as it may."""
        rows = await self._runs.fetch(_INSERT, tenant, new_id(), name, MAX_SEGMENTS)
        return rows[0] if rows else None

    async def rename(self, tenant: UUID, ident: UUID, name: str) -> bool:
        """Whether there was such a segment."""
        return bool(await self._runs.fetch(_RENAME, tenant, ident, name))

    async def delete(self, tenant: UUID, ident: UUID) -> bool:
        """Forget it, not its contacts; whether there was such a segment."""
        return bool(await self._runs.fetch(_DELETE, tenant, ident))

    async def missing(self, tenant: UUID, segments: Collection[UUID]) -> UUID | None:
        """One of these that the tenant does not have; None when it has them all."""
        rows = await self._runs.fetch(f"{_MISSING} LIMIT 1", tenant, list(segments)) if segments else []
        return UUID(str(rows[0]["id"])) if rows else None

    async def add(self, tenant: UUID, contacts: Collection[UUID], segments: Collection[UUID]) -> None:
        """Put every one of the contacts into every one of the segments; who is in already stays."""
        if contacts and segments:
            await self._runs.fetch(_ADD, tenant, list(contacts), list(segments))

    async def has(self, tenant: UUID, segment: UUID, contact: UUID) -> bool:
        """Whether a contact is in it."""
        return bool(await self._runs.fetch(_HAS, tenant, segment, contact))

    async def remove(self, tenant: UUID, segment: UUID, contact: UUID) -> bool:
        """Take a contact out; whether it was in."""
        return bool(await self._runs.fetch(_REMOVE, tenant, segment, contact))

    async def of_contact(self, tenant: UUID, contact: UUID, page: Page) -> list[Any]:
        """The segments of a contact: rows of a page in reading order."""
        return await fetch_page(self._runs, _OF_CONTACT, "s.id", page, tenant, contact)
