"""The suppression list as people work with it: what gets none of a tenant's mail, and through it who has left lists."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from mailwarren.contracts.ids import new_id
from mailwarren.contracts.webhooks import EventType
from mailwarren.ingest.adapters.database import Database
from mailwarren.ingest.adapters.keyset import fetch_page
from mailwarren.ingest.adapters.unsubscribes import Unsubscribes
from mailwarren.ingest.adapters.webhook_notices import WebhookNotices
from mailwarren.ingest.domain.cursor import Page
from mailwarren.ingest.domain.suppressions import IMPORTED, Entry, NewEntry
from mailwarren.store.states import Leaving, Origin

WITHIN = 15.0
"""Seconds for a thousand rows of a file."""

_SELECT = """
SELECT id, address, origin, reason, email_id, created_at, expires_at FROM suppressions
WHERE tenant = $1 AND (expires_at IS NULL OR expires_at > now())
"""
# What stands stays, unless it would end earlier. Rows are locked in the order of their addresses.
_ADD = """
WITH made AS (
  INSERT INTO suppressions AS s (tenant, address, id, reason, origin, created_at, expires_at)
  SELECT $1, r.address, r.id, $5, 'manual', now(), r.expires_at
  FROM unnest($2::text[], $3::uuid[], $4::timestamptz[]) AS r(address, id, expires_at)
  ORDER BY r.address
  ON CONFLICT (tenant, address) DO UPDATE
    SET id = excluded.id, reason = excluded.reason, origin = excluded.origin, email_id = NULL,
        created_at = excluded.created_at, expires_at = excluded.expires_at
    WHERE s.expires_at IS NOT NULL
      AND (s.expires_at <= now() OR excluded.expires_at IS NULL OR excluded.expires_at > s.expires_at)
  RETURNING address, id
)
SELECT address, id, true AS made FROM made
UNION ALL
SELECT s.address, s.id, false FROM suppressions s WHERE s.tenant = $1 AND s.address = ANY($2)
  AND NOT EXISTS (SELECT FROM made m WHERE m.address = s.address)
"""
# Two who remove the same entries wait for each other, so that webhooks hear of each once.
_LOCK = "SELECT 1 FROM suppressions WHERE tenant = $1 AND address = ANY($2) ORDER BY address FOR UPDATE"
_REMOVE = """
DELETE FROM suppressions WHERE tenant = $1 AND address = ANY($2)
RETURNING id, (expires_at IS NULL OR expires_at > now()) AS held
"""


class SuppressionLists:
    """Of all tenants. Every method may raise ``DatabaseDown``.

    A ``topic`` of None is all of a tenant's mail; ``LISTS`` or a topic's id are what readers leave.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.unsubscribes = Unsubscribes(database)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Unsubscribes]:
        """Several changes of what a reader gets, all of them or none."""
        async with self._database.connection(WITHIN) as connection, connection.transaction():
            yield Unsubscribes(connection)

    async def page(self, tenant: UUID, topic: UUID | None, page: Page, origin: Origin | None = None) -> list[Entry]:
        """A page in reading order."""
        if topic is not None:
            return await self.unsubscribes.page(tenant, topic, page)
        if origin is None:
            rows = await fetch_page(self._database, _SELECT, "id", page, tenant)
        else:
            rows = await fetch_page(self._database, f"{_SELECT} AND origin = $2", "id", page, tenant, origin.value)
        return [_entry(row) for row in rows]

    async def find(self, tenant: UUID, asked: UUID | str, topic: UUID | None) -> Entry | None:
        """An entry by its id, of whatever scope; or by its address."""
        found = await self.by_ids(tenant, [asked]) if isinstance(asked, UUID) else None
        if isinstance(asked, str):
            found = await self.by_addresses(tenant, [asked], topic)
        return found[0] if found else None

    async def by_ids(self, tenant: UUID, ids: Sequence[UUID]) -> list[Entry]:
        """Entries of all scopes."""
        rows = await self._database.fetch(f"{_SELECT} AND id = ANY($2::uuid[])", tenant, list(ids))
        return [_entry(row) for row in rows] + await self.unsubscribes.find(tenant, ids, None)

    async def by_addresses(self, tenant: UUID, addresses: Sequence[str], topic: UUID | None) -> list[Entry]:
        """Entries of one scope."""
        if topic is not None:
            return await self.unsubscribes.find(tenant, addresses, topic)
        rows = await self._database.fetch(f"{_SELECT} AND address = ANY($2::text[])", tenant, list(addresses))
        return [_entry(row) for row in rows]

    async def add(
        self, tenant: UUID, topic: UUID | None, entries: Sequence[NewEntry], *, imported: bool = False
    ) -> dict[str, UUID]:
        """Put addresses on the list, each once; ids by address, of what is new and of what stood there."""
        addresses = [entry.address for entry in entries]
        if topic is not None:
            reason = Leaving.IMPORT if imported else Leaving.MANUAL
            async with self.transaction() as lists:
                return await lists.leave(tenant, topic, addresses, reason)
        ends = [entry.expires_at for entry in entries]
        reason_word = IMPORTED if imported else Leaving.MANUAL.value
        found: dict[str, UUID] = {}
        made: set[str] = set()
        async with self._database.connection(WITHIN) as connection, connection.transaction():
            # What another call put there between this statement's look and its writing shows in a second one.
            while len(found) < len(addresses):
                ids = [new_id() for _ in addresses]
                rows = await connection.fetch(_ADD, tenant, addresses, ids, ends, reason_word)
                found = {row["address"]: UUID(str(row["id"])) for row in rows}
                made |= {row["address"] for row in rows if row["made"]}
            await WebhookNotices(connection).suppressions(tenant, EventType.SUPPRESSION_ADDED, made)
        return found

    async def remove(self, tenant: UUID, entries: Sequence[Entry]) -> list[Entry]:
        """Take entries from the list; those that stood there."""
        gone: set[UUID] = set()
        for topic in {entry.topic for entry in entries}:
            addresses = [entry.address for entry in entries if entry.topic == topic]
            if topic is None:
                gone |= await self._remove(tenant, addresses)
            else:
                async with self.transaction() as lists:
                    gone |= set((await lists.come_back(tenant, topic, addresses)).values())
        return [entry for entry in entries if entry.id in gone]

    async def _remove(self, tenant: UUID, addresses: Sequence[str]) -> set[UUID]:
        async with self._database.connection(WITHIN) as connection, connection.transaction():
            await connection.fetch(_LOCK, tenant, addresses)
            await WebhookNotices(connection).suppressions(tenant, EventType.SUPPRESSION_REMOVED, addresses)
            rows = await connection.fetch(_REMOVE, tenant, addresses)
        return {UUID(str(row["id"])) for row in rows if row["held"]}


def _entry(row: Any) -> Entry:
    return Entry(
        id=UUID(str(row["id"])),
        address=row["address"],
        topic=None,
        origin=Origin(row["origin"]),
        reason=row["reason"],
        source=row["email_id"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
    )
