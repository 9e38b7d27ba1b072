"""Who has left lists, in Postgres: by address, and with it the contact that has it (``docs/adr/0035``).

``unsubscribes`` is what mail is held against. ``contacts.unsubscribed`` and ``contact_topics`` say the same of a
contact: whatever changes one side here or in :mod:`.contacts` and :mod:`.topics` changes the other with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from mailwarren.contracts.ids import new_id
from mailwarren.contracts.unsubscribe import LISTS
from mailwarren.contracts.webhooks import EventType
from mailwarren.ingest.adapters.keyset import Runs, fetch_page
from mailwarren.ingest.adapters.webhook_notices import WebhookNotices
from mailwarren.ingest.domain.cursor import Page
from mailwarren.ingest.domain.suppressions import Entry
from mailwarren.store.states import Leaving, Origin, Subscription, Visibility

# Contacts are locked first, in the order of their addresses, as by all who change them: nobody waits in a circle.
_LEAVE = """
WITH people AS (
  UPDATE contacts c SET unsubscribed = true, updated_at = now()
  FROM (
    SELECT id FROM contacts
    WHERE $2::uuid = '00000000-0000-0000-0000-000000000000' AND tenant = $1 AND email_key = ANY($3) AND NOT unsubscribed
    ORDER BY email_key FOR UPDATE
  ) AS held WHERE c.tenant = $1 AND c.id = held.id RETURNING 1
), chosen AS (
  INSERT INTO contact_topics (tenant, contact, topic, subscription, updated_at)
  SELECT c.tenant, c.id, t.id, 'opt_out', now()
  FROM topics t JOIN contacts c ON c.tenant = t.tenant AND c.email_key = ANY($3)
  WHERE t.tenant = $1 AND t.id = $2 ORDER BY c.id FOR KEY SHARE OF c, t
  ON CONFLICT (tenant, contact, topic) DO UPDATE SET subscription = 'opt_out', updated_at = now()
    WHERE contact_topics.subscription <> 'opt_out' RETURNING 1
), made AS (
  INSERT INTO unsubscribes (tenant, topic, address, id, reason, source, created_at)
  SELECT $1, $2::uuid, r.address, r.id, $5::text, $6::uuid, now()
  FROM unnest($3::text[], $4::uuid[]) AS r(address, id)
  WHERE (SELECT count(*) FROM people) >= 0 AND (SELECT count(*) FROM chosen) >= 0
  ORDER BY r.address
  ON CONFLICT (tenant, topic, address) DO NOTHING RETURNING address, id
)
SELECT address, id FROM made
UNION ALL
SELECT u.address, u.id FROM unsubscribes u WHERE u.tenant = $1 AND u.topic = $2 AND u.address = ANY($3)
  AND NOT EXISTS (SELECT FROM made m WHERE m.address = u.address)
"""
_COME_BACK = """
WITH people AS (
  UPDATE contacts c SET unsubscribed = false, updated_at = now()
  FROM (
    SELECT id FROM contacts
    WHERE $2::uuid = '00000000-0000-0000-0000-000000000000' AND tenant = $1 AND email_key = ANY($3) AND unsubscribed
    ORDER BY email_key FOR UPDATE
  ) AS held WHERE c.tenant = $1 AND c.id = held.id RETURNING 1
), chosen AS (
  INSERT INTO contact_topics (tenant, contact, topic, subscription, updated_at)
  SELECT c.tenant, c.id, t.id, 'opt_in', now()
  FROM topics t JOIN contacts c ON c.tenant = t.tenant AND c.email_key = ANY($3)
  WHERE t.tenant = $1 AND t.id = $2 ORDER BY c.id FOR KEY SHARE OF c, t
  ON CONFLICT (tenant, contact, topic) DO UPDATE SET subscription = 'opt_in', updated_at = now()
    WHERE contact_topics.subscription <> 'opt_in' RETURNING 1
), gone AS (
  DELETE FROM unsubscribes WHERE tenant = $1 AND topic = $2 AND address = ANY($3)
    AND (SELECT count(*) FROM people) >= 0 AND (SELECT count(*) FROM chosen) >= 0
  RETURNING id, address
)
SELECT id, address FROM gone
"""
_SELECT = "SELECT id, address, topic, reason, source, created_at FROM unsubscribes WHERE tenant = $1"
_TOPICS = """
SELECT t.id, t.name, t.description, t.visibility, t.default_subscription, c.id AS contact, s.subscription AS chosen,
  EXISTS (SELECT FROM unsubscribes u WHERE u.tenant = $1 AND u.topic = t.id AND u.address = $2) AS gone
FROM topics t
LEFT JOIN contacts c ON c.tenant = $1 AND c.email_key = $2
LEFT JOIN contact_topics s ON s.tenant = $1 AND s.contact = c.id AND s.topic = t.id
WHERE t.tenant = $1 AND t.deleted_at IS NULL
ORDER BY t.id
"""
# Those that this transaction has changed: its time is theirs.
_CHANGED = "SELECT id FROM contacts WHERE tenant = $1 AND email_key = ANY($2) AND updated_at = now()"
_CHOSE = """
SELECT c.id FROM contacts c JOIN contact_topics s ON s.tenant = c.tenant AND s.contact = c.id
WHERE c.tenant = $1 AND c.email_key = ANY($2) AND s.topic = $3 AND s.updated_at = now()
"""
_LEFT_ALL = "SELECT 1 FROM unsubscribes WHERE tenant = $1 AND topic = $2 AND address = $3"
_IS_TOPIC = "SELECT 1 FROM topics WHERE tenant = $1 AND id = $2 AND deleted_at IS NULL"


@dataclass(frozen=True, slots=True)
class TopicChoice:
    """A topic as its reader sees it."""

    id: UUID
    name: str
    description: str
    subscribed: bool


@dataclass(frozen=True, slots=True)
class Preferences:
    """What an address gets: nothing that goes to lists, or of each topic that its reader may know of."""

    left_all: bool
    topics: Sequence[TopicChoice]


class Unsubscribes:
    """Of all tenants. Addresses are keys (:mod:`mailwarren.contracts.address_key`).

    Args:
        runs: what changes something runs inside of a transaction, which also tells the webhooks.
    """

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    async def leave(
        self, tenant: UUID, topic: UUID, addresses: Sequence[str], reason: Leaving, source: UUID | None = None
    ) -> dict[str, UUID]:
        """Note that they get no more about a topic, or of all under ``LISTS``.

        Args:
            tenant: whose mail.
            topic: what they leave.
            addresses: each once.
            reason: how.
            source: the call whose link was followed.

        Returns:
            The ids of their entries, also of those that were there.
        """
        found: dict[str, UUID] = {}
        # What another call wrote between this statement's look and its writing shows in a second one.
        while len(found) < len(addresses):
            ids = [new_id() for _ in addresses]
            rows = await self._runs.fetch(_LEAVE, tenant, topic, list(addresses), ids, reason.value, source)
            found = {row["address"]: UUID(str(row["id"])) for row in rows}
        await self._tell(tenant, topic, addresses)
        return found

    async def come_back(self, tenant: UUID, topic: UUID, addresses: Sequence[str]) -> dict[str, UUID]:
        """The other way round; the ids of the entries that are gone, by address."""
        rows = await self._runs.fetch(_COME_BACK, tenant, topic, list(addresses))
        await self._tell(tenant, topic, addresses)
        return {row["address"]: UUID(str(row["id"])) for row in rows}

    async def page(self, tenant: UUID, topic: UUID, page: Page) -> list[Entry]:
        """A page in reading order."""
        rows = await fetch_page(self._runs, f"{_SELECT} AND topic = $2", "id", page, tenant, topic)
        return [_entry(row) for row in rows]

    async def find(self, tenant: UUID, asked: Sequence[UUID] | Sequence[str], topic: UUID | None) -> list[Entry]:
        """Entries by their ids, or by the addresses that left a topic."""
        if topic is None:
            rows = await self._runs.fetch(f"{_SELECT} AND id = ANY($2::uuid[])", tenant, list(asked))
        else:
            sql = f"{_SELECT} AND topic = $2 AND address = ANY($3::text[])"
            rows = await self._runs.fetch(sql, tenant, topic, list(asked))
        return [_entry(row) for row in rows]

    async def is_topic(self, tenant: UUID, topic: UUID) -> bool:
        """Whether the tenant has it."""
        return bool(await self._runs.fetch(_IS_TOPIC, tenant, topic))

    async def preferences(self, tenant: UUID, address: str, asked: UUID) -> Preferences:
        """What an address gets, with the topics that its reader may know of.

        Those are the public ones, the one that was ``asked`` for, and those to which it is subscribed by choice; but
        nobody who is no contact is shown a topic that has to be taken first.
        """
        left_all = bool(await self._runs.fetch(_LEFT_ALL, tenant, LISTS, address))
        rows = await self._runs.fetch(_TOPICS, tenant, address)
        return Preferences(left_all, [_choice(row) for row in rows if _shown(row, asked)])

    async def _tell(self, tenant: UUID, topic: UUID, addresses: Sequence[str]) -> None:
        notices = WebhookNotices(self._runs)
        if topic == LISTS:
            if await notices.wanted(tenant, EventType.CONTACT_UPDATED):
                rows = await self._runs.fetch(_CHANGED, tenant, list(addresses))
                await notices.contacts(tenant, EventType.CONTACT_UPDATED, [row["id"] for row in rows])
        elif await notices.wanted(tenant, EventType.CONTACT_TOPICS_UPDATED):
            rows = await self._runs.fetch(_CHOSE, tenant, list(addresses), topic)
            await notices.choices(tenant, [row["id"] for row in rows], [topic])


def _choice(row: Any) -> TopicChoice:
    wanted = (row["chosen"] or row["default_subscription"]) == Subscription.IN
    return TopicChoice(UUID(str(row["id"])), row["name"], row["description"], wanted and not row["gone"])


def _shown(row: Any, asked: UUID) -> bool:
    if row["contact"] is None and row["default_subscription"] == Subscription.OUT:
        return False
    return bool(row["id"] == asked or row["chosen"] == Subscription.IN or row["visibility"] == Visibility.PUBLIC)


def _entry(row: Any) -> Entry:
    return Entry(
        id=UUID(str(row["id"])),
        address=row["address"],
        topic=UUID(str(row["topic"])),
        origin=Origin.MANUAL,
        reason=row["reason"],
        source=row["source"],
        created_at=row["created_at"],
    )
