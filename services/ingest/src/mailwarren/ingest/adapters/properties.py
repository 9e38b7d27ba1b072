"""Contact properties in Postgres. A deleted one is gone at once; its values are removed by retention."""

from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from mailwarren.contracts.ids import new_id
from mailwarren.ingest.adapters.keyset import Runs, fetch_page
from mailwarren.ingest.domain.cursor import Page
from mailwarren.ingest.domain.properties import MAX_PROPERTIES, Property, Value
from mailwarren.store.states import PropertyType

_SELECT = """
SELECT id, key, type, fallback, created_at FROM contact_properties WHERE tenant = $1 AND deleted_at IS NULL
"""
_INSERT = """
INSERT INTO contact_properties (tenant, id, key, type, fallback, created_at, updated_at)
SELECT $1, $2, $3, $4, $5::jsonb, now(), now()
WHERE (SELECT count(*) FROM contact_properties WHERE tenant = $1 AND deleted_at IS NULL) < $6
RETURNING id
"""
_UPDATE = """
UPDATE contact_properties SET fallback = $3::jsonb, updated_at = now()
WHERE tenant = $1 AND id = $2 AND deleted_at IS NULL RETURNING id
"""
_DELETE = """
UPDATE contact_properties SET deleted_at = now(), updated_at = now()
WHERE tenant = $1 AND id = $2 AND deleted_at IS NULL RETURNING id
"""


class KeyTaken(Exception):
    """The tenant has a property of this key."""


class Properties:
    """The declared properties of all tenants."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    async def declared(self, tenant: UUID) -> list[Property]:
        """All of a tenant, oldest first."""
        return [_property(row) for row in await self._runs.fetch(f"{_SELECT} ORDER BY id", tenant)]

    async def get(self, tenant: UUID, ident: UUID) -> Property | None:
        """One of them."""
        rows = await self._runs.fetch(f"{_SELECT} AND id = $2", tenant, ident)
        return _property(rows[0]) if rows else None

    async def page(self, tenant: UUID, page: Page) -> list[Property]:
        """A page in reading order."""
        return [_property(row) for row in await fetch_page(self._runs, _SELECT, "id", page, tenant)]

    async def create(self, tenant: UUID, key: str, kind: PropertyType, fallback: Value | None) -> UUID | None:
        """Declare one; None when the tenant has as many as it may.

        Raises:
            KeyTaken: there is one of this key.
        """
        try:
            rows = await self._runs.fetch(_INSERT, tenant, new_id(), key, kind.value, _json(fallback), MAX_PROPERTIES)
        except asyncpg.UniqueViolationError as error:
            raise KeyTaken(key) from error
        return UUID(str(rows[0]["id"])) if rows else None

    async def update(self, tenant: UUID, ident: UUID, fallback: Value | None) -> bool:
        """Change the fallback; whether there was such a property."""
        return bool(await self._runs.fetch(_UPDATE, tenant, ident, _json(fallback)))

    async def delete(self, tenant: UUID, ident: UUID) -> bool:
        """Forget it, and with it every contact's value; whether there was such a property."""
        return bool(await self._runs.fetch(_DELETE, tenant, ident))


def _json(fallback: Value | None) -> str | None:
    return None if fallback is None else msgspec.json.encode(fallback).decode()


def _property(row: Any) -> Property:
    fallback = row["fallback"]
    return Property(
        id=UUID(str(row["id"])),
        key=row["key"],
        type=PropertyType(row["type"]),
        fallback=None if fallback is None else msgspec.json.decode(fallback),
        created_at=row["created_at"],
    )
