"""Topics in Postgres, and what contacts chose. A deleted one is gone at once; its choices are removed by retention."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from msgspec import UNSET

from mailwarren.contracts.ids import new_id
from mailwarren.ingest.adapters.keyset import Runs, fetch_page
from mailwarren.ingest.domain.cursor import Page
from mailwarren.ingest.domain.topics import MAX_TOPICS, Choice, Moved, TopicChange
from mailwarren.store.states import Subscription, Visibility

_SELECT = """
SELECT id, name, description, default_subscription, visibility, created_at
FROM topics WHERE tenant = $1 AND deleted_at IS NULL
"""
_INSERT = """
INSERT INTO topics (tenant, id, name, description, default_subscription, visibility, created_at, updated_at)
SELECT $1, $2, $3, $4, $5, $6, now(), now()
WHERE (SELECT count(*) FROM topics WHERE tenant = $1 AND deleted_at IS NULL) < $7
RETURNING id
"""
_UPDATE = """
UPDATE topics SET name = coalesce($3, name), description = coalesce($4, description),
  visibility = coalesce($5, visibility), updated_at = now()
WHERE tenant = $1 AND id = $2 AND deleted_at IS NULL RETURNING id
"""
_DELETE = """
UPDATE topics SET deleted_at = now(), updated_at = now()
WHERE tenant = $1 AND id = $2 AND deleted_at IS NULL RETURNING id
"""
_MISSING = """
SELECT asked.id FROM unnest($2::uuid[]) AS asked(id)
WHERE NOT EXISTS (SELECT FROM topics t WHERE t.tenant = $1 AND t.id = asked.id AND t.deleted_at IS NULL)
"""
# Locked as a foreign key locks them: nobody deletes a contact between our look and our write. What a contact chose
# holds for its address: docs/adr/0035.
_CHOOSE = """
WITH done AS (
INSERT INTO contact_topics (tenant, contact, topic, subscription, updated_at)
SELECT c.tenant, c.id, t.id, choice.subscription, now()
FROM unnest($3::uuid[], $4::text[]) AS choice(topic, subscription)
JOIN topics t ON t.tenant = $1 AND t.id = choice.topic AND t.deleted_at IS NULL
JOIN contacts c ON c.tenant = $1 AND c.id = ANY($2::uuid[])
ORDER BY c.id, t.id FOR KEY SHARE OF c, t
ON CONFLICT (tenant, contact, topic) DO UPDATE SET subscription = excluded.subscription, updated_at = now()
RETURNING contact, topic, subscription
), said AS (
  SELECT c.email_key, d.topic, d.subscription FROM done d JOIN contacts c ON c.tenant = $1 AND c.id = d.contact
), gone AS (
  INSERT INTO unsubscribes (tenant, topic, address, reason, created_at)
  SELECT $1, s.topic, s.email_key, 'contact', now() FROM said s WHERE s.subscription = 'opt_out'
  ORDER BY s.topic, s.email_key
  ON CONFLICT DO NOTHING RETURNING topic, address
), back AS (
  DELETE FROM unsubscribes u USING said s
  WHERE s.subscription = 'opt_in' AND u.tenant = $1 AND u.topic = s.topic AND u.address = s.email_key
  RETURNING u.topic, u.address
)
SELECT topic, address, true AS gone FROM gone UNION ALL SELECT topic, address, false FROM back
"""
_OF_CONTACT = """
SELECT t.id, t.name, t.description, coalesce(chosen.subscription, t.default_subscription) AS subscription
FROM topics t LEFT JOIN contact_topics chosen ON chosen.tenant = $1 AND chosen.contact = $2 AND chosen.topic = t.id
WHERE t.tenant = $1 AND t.deleted_at IS NULL
"""


class Topics:
    """The topics of all tenants."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    async def get(self, tenant: UUID, ident: UUID) -> Any:
        """A topic's row, or None."""
        rows = await self._runs.fetch(f"{_SELECT} AND id = $2", tenant, ident)
        return rows[0] if rows else None

    async def page(self, tenant: UUID, page: Page) -> list[Any]:
        """Rows of a page in reading order."""
        return await fetch_page(self._runs, _SELECT, "id", page, tenant)

    async def create(
        self, tenant: UUID, name: str, description: str, default: Subscription, visibility: Visibility
    ) -> UUID | None:
        """Make one; None when the tenant has as many as it may."""
        values = name, description, default.value, visibility.value
        rows = await self._runs.fetch(_INSERT, tenant, new_id(), *values, MAX_TOPICS)
        return UUID(str(rows[0]["id"])) if rows else None

    async def update(self, tenant: UUID, ident: UUID, change: TopicChange) -> bool:
        """Whether there was such a topic."""
        name = None if change.name is UNSET else change.name
        description = None if change.description is UNSET else change.description or ""
        visibility = None if change.visibility is UNSET else change.visibility.value
        return bool(await self._runs.fetch(_UPDATE, tenant, ident, name, description, visibility))

    async def delete(self, tenant: UUID, ident: UUID) -> bool:
        """Forget it and all choices; whether there was such a topic."""
        return bool(await self._runs.fetch(_DELETE, tenant, ident))

    async def missing(self, tenant: UUID, topics: Collection[UUID]) -> UUID | None:
        """One of these that the tenant does not have; None when it has them all."""
        rows = await self._runs.fetch(f"{_MISSING} LIMIT 1", tenant, list(topics)) if topics else []
        return UUID(str(rows[0]["id"])) if rows else None

    async def choose(self, tenant: UUID, contacts: Collection[UUID], choices: Sequence[Choice]) -> list[Moved]:
        """Note the choices for every one of the contacts; of two about one topic the later stands.

        Returns:
            Of each topic, whose addresses have left it with this or are back.
        """
        last = {choice.id: choice.subscription.value for choice in choices}
        if not contacts or not last:
            return []
        rows = await self._runs.fetch(_CHOOSE, tenant, list(contacts), list(last), list(last.values()))
        moved = {topic: Moved(topic, [], []) for topic in last}
        for row in rows:
            of = moved[row["topic"]]
            (of.gone if row["gone"] else of.back).append(row["address"])
        return list(moved.values())

    async def of_contact(self, tenant: UUID, contact: UUID, page: Page) -> list[Any]:
        """Every topic with what holds for a contact: rows of a page in reading order."""
        return await fetch_page(self._runs, _OF_CONTACT, "t.id", page, tenant, contact)
