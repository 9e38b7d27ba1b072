"""What ingest changes, told to the webhooks in the transaction that changes it (``docs/adr/0033``).

The rows are the tracker's: a function of the database writes them, with its owner's rights. A tenant whose webhooks do
not ask for it costs one look at an index.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from mailwarren.contracts.ids import new_id
from mailwarren.contracts.webhooks import EventType
from mailwarren.ingest.adapters.keyset import Runs

_WANTED = "EXISTS (SELECT FROM webhooks w WHERE w.tenant = $1 AND $2::text = ANY(w.events))"
_TELL = f"SELECT tell_webhooks($1, $2::text, now(), $3::uuid[], $4::jsonb[]) WHERE {_WANTED}"

_TIME = "to_char({0} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"
_CONTACT = f"""jsonb_build_object(
  'id', c.id, 'audience_id', coalesce(s.ids ->> 0, ''), 'segment_ids', coalesce(s.ids, '[]'::jsonb),
  'created_at', {_TIME.format("c.created_at")}, 'updated_at', {_TIME.format("c.updated_at")}, 'email', c.email,
  'first_name', c.first_name, 'last_name', c.last_name, 'unsubscribed', c.unsubscribed)"""
_CONTACTS = f"""
SELECT tell_webhooks($1, $2::text, now(), $3::uuid[], ARRAY(
  SELECT {_CONTACT} FROM contacts c LEFT JOIN LATERAL (
    SELECT jsonb_agg(m.segment ORDER BY m.segment) AS ids FROM contact_segments m
    WHERE m.tenant = c.tenant AND m.contact = c.id
  ) s ON true
  WHERE c.tenant = $1 AND c.id = ANY($4::uuid[]) ORDER BY c.id
)) WHERE {_WANTED}
"""  # noqa: S608 - constants
_CHOICES = f"""
SELECT tell_webhooks($1, $2::text, now(), $3::uuid[], ARRAY(
  SELECT jsonb_build_object('email', c.email, 'topics', jsonb_agg(
    jsonb_build_object('id', t.topic, 'subscription', t.subscription) ORDER BY t.topic))
  FROM contacts c JOIN contact_topics t ON t.tenant = c.tenant AND t.contact = c.id
  WHERE c.tenant = $1 AND c.id = ANY($4::uuid[]) AND t.topic = ANY($5::uuid[])
  GROUP BY c.id, c.email ORDER BY c.id
)) WHERE {_WANTED}
"""  # noqa: S608 - constants
_TOPIC = f"""
SELECT tell_webhooks($1, $2::text, now(), ARRAY[$3::uuid], ARRAY(
  SELECT jsonb_build_object('id', t.id, 'name', t.name, 'description', t.description,
    'default_subscription', t.default_subscription, 'deleted', t.deleted_at IS NOT NULL,
    'created_at', {_TIME.format("t.created_at")}, 'updated_at', {_TIME.format("t.updated_at")})
  FROM topics t WHERE t.tenant = $1 AND t.id = $4
)) WHERE {_WANTED}
"""  # noqa: S608 - constants
_SUPPRESSIONS = f"""
SELECT tell_webhooks($1, $2::text, now(), $3::uuid[], ARRAY(
  SELECT jsonb_build_object('id', s.id, 'email', s.address, 'origin', s.origin, 'source_id', s.email_id,
    'created_at', {_TIME.format("s.created_at")})
  FROM suppressions s
  WHERE s.tenant = $1 AND s.address = ANY($4::text[]) AND (s.expires_at IS NULL OR s.expires_at > now())
  ORDER BY s.address
)) WHERE {_WANTED}
"""  # noqa: S608 - constants


class WebhookNotices:
    """Tells the webhooks of a tenant.

    Args:
        runs: the connection, inside of the transaction of what is told.
    """

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    async def wanted(self, tenant: UUID, kind: EventType) -> bool:
        """Whether any asks for it: to make a payload may cost more than to ask."""
        [row] = await self._runs.fetch(f"SELECT {_WANTED} AS wanted", tenant, kind.value)
        return bool(row["wanted"])

    async def tell(self, tenant: UUID, kind: EventType, facts: Sequence[Mapping[str, Any]]) -> None:
        """Events of one kind, each with its ``data``."""
        if facts:
            data = [msgspec.json.encode(fact).decode() for fact in facts]
            await self._runs.fetch(_TELL, tenant, kind.value, [new_id() for _ in facts], data)

    async def contacts(self, tenant: UUID, kind: EventType, contacts: Collection[UUID]) -> None:
        """Contacts as they stand now: before a deletion, after anything else."""
        if contacts:
            await self._runs.fetch(_CONTACTS, tenant, kind.value, [new_id() for _ in contacts], list(contacts))

    async def choices(self, tenant: UUID, contacts: Collection[UUID], topics: Collection[UUID]) -> None:
        """What contacts have just chosen about these topics."""
        if contacts and topics:
            kind, ids = EventType.CONTACT_TOPICS_UPDATED.value, [new_id() for _ in contacts]
            await self._runs.fetch(_CHOICES, tenant, kind, ids, list(contacts), list(topics))

    async def suppressions(self, tenant: UUID, kind: EventType, addresses: Collection[str]) -> None:
        """Entries of the list as they stand now: before they are removed, after they were added."""
        if addresses:
            ids = [new_id() for _ in addresses]
            await self._runs.fetch(_SUPPRESSIONS, tenant, kind.value, ids, list(addresses))

    async def topic(self, tenant: UUID, kind: EventType, topic: UUID) -> None:
        """A topic as it stands now."""
        await self._runs.fetch(_TOPIC, tenant, kind.value, new_id(), topic)
