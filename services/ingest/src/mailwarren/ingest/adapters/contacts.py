"""Contacts in Postgres: many at once from an import, one at a time from the API, page by page for a broadcast.

One address is one contact of a tenant: the unique key decides between calls that come at the same time.
"""

from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET

from mailwarren.contracts.ids import new_id
from mailwarren.ingest.adapters.database import Database
from mailwarren.ingest.adapters.erased import is_erased
from mailwarren.ingest.adapters.keyset import Runs, fetch_page
from mailwarren.ingest.adapters.properties import Properties
from mailwarren.ingest.domain.contacts import Contact, ContactChange, ContactRow, Recipient, address_of
from mailwarren.ingest.domain.cursor import Page
from mailwarren.ingest.domain.properties import Value, with_fallbacks

# In the order of the keys: calls that share addresses lock them in the same order, and none waits in a circle.
# Who left all lists before they were a contact is one that has left them, unless the call says otherwise.
_INSERT = """
INSERT INTO contacts AS c
  (tenant, id, email, email_key, first_name, last_name, unsubscribed, properties, created_at, updated_at)
SELECT $1, r.id, r.email, r.email_key, r.first_name, r.last_name, coalesce(r.unsubscribed, EXISTS (
    SELECT FROM unsubscribes u WHERE u.tenant = $1 AND u.topic = '00000000-0000-0000-0000-000000000000'
      AND u.address = r.email_key)),
  r.properties, now(), now()
FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::boolean[], $8::jsonb[])
  AS r(id, email, email_key, first_name, last_name, unsubscribed, properties)
ORDER BY r.email_key
"""
# What is said of a contact holds for its address, and what its address left for the contact: docs/adr/0035.
_AGREED = """
, gone AS (
  INSERT INTO unsubscribes (tenant, topic, address, reason, created_at)
  SELECT $1, '00000000-0000-0000-0000-000000000000', d.email_key, 'contact', now()
  FROM done d WHERE d.unsubscribed ORDER BY d.email_key
  ON CONFLICT DO NOTHING RETURNING address
), back AS (
  DELETE FROM unsubscribes u USING unnest($4::text[], $7::boolean[]) AS said(address, unsubscribed)
  WHERE said.unsubscribed IS FALSE AND u.tenant = $1 AND u.topic = '00000000-0000-0000-0000-000000000000'
    AND u.address = said.address AND u.address IN (SELECT d.email_key FROM done d)
  RETURNING u.address
), topics_left AS (
  INSERT INTO contact_topics (tenant, contact, topic, subscription, updated_at)
  SELECT $1, d.id, u.topic, 'opt_out', now()
  FROM done d JOIN unsubscribes u ON u.tenant = $1 AND u.address = d.email_key
  JOIN topics t ON t.tenant = $1 AND t.id = u.topic
  ORDER BY d.id, u.topic
  ON CONFLICT DO NOTHING
)
SELECT id, email_key, email_key IN (SELECT address FROM gone) AS gone, email_key IN (SELECT address FROM back) AS back
FROM done
"""
# EXCLUDED is what would have been inserted and cannot tell a given false from none at all: $9 has the ids of the given.
_UPSERT = f"""
WITH done AS ({_INSERT}
ON CONFLICT (tenant, email_key) DO UPDATE SET
  first_name = coalesce(excluded.first_name, c.first_name),
  last_name = coalesce(excluded.last_name, c.last_name),
  unsubscribed = CASE WHEN excluded.id = ANY($9::uuid[]) THEN excluded.unsubscribed ELSE c.unsubscribed END,
  properties = c.properties || excluded.properties,
  updated_at = now()
RETURNING id, email_key, unsubscribed
){_AGREED}"""
_SKIP = f"""
WITH done AS ({_INSERT} ON CONFLICT (tenant, email_key) DO NOTHING RETURNING id, email_key, unsubscribed){_AGREED}"""
_HEAD = "SELECT c.id, c.email, c.email_key, c.first_name, c.last_name, c.unsubscribed, c.properties, c.created_at"
_SELECT = f"{_HEAD} FROM contacts c WHERE c.tenant = $1"
_IN_SEGMENT = f"""
{_HEAD} FROM contact_segments m JOIN contacts c ON c.tenant = m.tenant AND c.id = m.contact
WHERE m.tenant = $1 AND m.segment = $2
"""
_UPDATE = """
WITH done AS (
UPDATE contacts SET
  first_name = CASE WHEN $3 THEN $4 ELSE first_name END,
  last_name = CASE WHEN $5 THEN $6 ELSE last_name END,
  unsubscribed = coalesce($7, unsubscribed),
  properties = jsonb_strip_nulls(properties || $8::jsonb),
  updated_at = now()
WHERE tenant = $1 AND id = $2 RETURNING id, email_key
), gone AS (
  INSERT INTO unsubscribes (tenant, topic, address, reason, created_at)
  SELECT $1, '00000000-0000-0000-0000-000000000000', d.email_key, 'contact', now() FROM done d WHERE $7::boolean
  ON CONFLICT DO NOTHING
), back AS (
  DELETE FROM unsubscribes u USING done d WHERE NOT $7::boolean
    AND u.tenant = $1 AND u.topic = '00000000-0000-0000-0000-000000000000' AND u.address = d.email_key
)
SELECT id FROM done
"""
_DELETE = "DELETE FROM contacts WHERE tenant = $1 AND id = $2 RETURNING id"
_MEMBERSHIPS = """
FROM contact_segments m
JOIN segments s ON s.tenant = m.tenant AND s.id = m.segment AND s.deleted_at IS NULL
JOIN contacts c ON c.tenant = m.tenant AND c.id = m.contact
"""
_SUPPRESSED = f"""(EXISTS (
    SELECT FROM suppressions x
    WHERE x.tenant = m.tenant AND x.address = c.email_key AND (x.expires_at IS NULL OR x.expires_at > now()))
  OR {is_erased("m.tenant", "c.email_key")})"""
# $3: the topic, if there is one.
_SUBSCRIBED = """($3::uuid IS NULL OR 'opt_in' = (
    SELECT coalesce(chosen.subscription, t.default_subscription) FROM topics t
    LEFT JOIN contact_topics chosen ON chosen.tenant = t.tenant AND chosen.contact = c.id AND chosen.topic = t.id
    WHERE t.tenant = m.tenant AND t.id = $3 AND t.deleted_at IS NULL))"""
_MEMBERS = f"""
SELECT c.id, c.email, c.email_key, c.first_name, c.last_name, c.properties {_MEMBERSHIPS}
WHERE m.tenant = $1 AND m.segment = $2 AND m.contact > $4 AND NOT c.unsubscribed
  AND NOT {_SUPPRESSED} AND {_SUBSCRIBED}
ORDER BY m.contact LIMIT $5
"""
_AUDIENCE = f"""
SELECT count(*) AS members, count(*) FILTER (WHERE why = 1) AS unsubscribed,
  count(*) FILTER (WHERE why = 2) AS opted_out, count(*) FILTER (WHERE why = 3) AS suppressed,
  count(*) FILTER (WHERE why IS NULL) AS recipients
FROM (
  SELECT CASE WHEN c.unsubscribed THEN 1 WHEN {_SUBSCRIBED} IS NOT TRUE THEN 2 WHEN {_SUPPRESSED} THEN 3 END AS why
  {_MEMBERSHIPS} WHERE m.tenant = $1 AND m.segment = $2
) r
"""  # noqa: S608 - constants
_FIRST = UUID(int=0)
COUNTED_WITHIN = 30.0
"""Seconds for counts that go with the size of a list."""

OnConflict = Literal["upsert", "skip"]


class Upserted(msgspec.Struct, frozen=True):
    """A contact that was made, or brought up to date."""

    id: UUID
    email_key: str
    made: bool
    gone: bool
    """Its address has left all lists with this."""
    back: bool
    """Its address had left them, and is back with this."""


class Audience(msgspec.Struct, frozen=True):
    """A segment: its members, and those who are left out, each for the first reason that holds."""

    members: int
    unsubscribed: int
    opted_out: int
    suppressed: int
    recipients: int


class Contacts:
    """The contacts of all tenants."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    async def upsert(self, tenant: UUID, rows: Sequence[ContactRow], on_conflict: OnConflict) -> list[Upserted]:
        """Make contacts, up to some thousands in one statement; of two rows with one key the later stands.

        Args:
            tenant: whose.
            rows: checked ones.
            on_conflict: what to do about addresses that are there: ``upsert`` brings them up to date with what is
                given, ``skip`` leaves them alone.

        Returns:
            What was made or brought up to date, in the order of the keys; what was skipped is not in it.
        """
        last = {row.email_key: row for row in rows}
        ids = [new_id() for _ in last]
        values = [
            ids,
            [row.email for row in last.values()],
            list(last),
            [row.first_name for row in last.values()],
            [row.last_name for row in last.values()],
            [row.unsubscribed for row in last.values()],
            [msgspec.json.encode(row.properties).decode() for row in last.values()],
        ]
        if on_conflict == "skip":
            found = await self._runs.fetch(_SKIP, tenant, *values)
        else:
            given = [ident for ident, row in zip(ids, last.values(), strict=True) if row.unsubscribed is not None]
            found = await self._runs.fetch(_UPSERT, tenant, *values, given)
        made = set(ids)
        return [
            Upserted(ident := UUID(str(row["id"])), row["email_key"], ident in made, row["gone"], row["back"])
            for row in found
        ]

    async def find(self, tenant: UUID, contact: UUID | str) -> Contact | None:
        """A contact by its id, or by the key of its address."""
        column = "c.id" if isinstance(contact, UUID) else "c.email_key"
        rows = await self._runs.fetch(f"{_SELECT} AND {column} = $2", tenant, contact)
        return _contact(rows[0]) if rows else None

    async def page(self, tenant: UUID, page: Page, segment: UUID | None = None) -> list[Contact]:
        """A page in reading order: of all contacts, or of those in a segment."""
        if segment is None:
            rows = await fetch_page(self._runs, _SELECT, "c.id", page, tenant)
        else:
            rows = await fetch_page(self._runs, _IN_SEGMENT, "m.contact", page, tenant, segment)
        return [_contact(row) for row in rows]

    async def update(
        self, tenant: UUID, ident: UUID, change: ContactChange, properties: dict[str, Value | None]
    ) -> bool:
        """Change what is given; whether there was such a contact."""
        first, last, unsubscribed = change.first_name, change.last_name, change.unsubscribed
        values = (
            first is not UNSET, None if first is UNSET else first, last is not UNSET, None if last is UNSET else last,
            None if unsubscribed is UNSET else unsubscribed, msgspec.json.encode(properties).decode(),
        )  # fmt: skip
        return bool(await self._runs.fetch(_UPDATE, tenant, ident, *values))

    async def delete(self, tenant: UUID, ident: UUID) -> bool:
        """Erase a contact with its memberships and choices; whether there was such a contact."""
        return bool(await self._runs.fetch(_DELETE, tenant, ident))

    async def members(
        self, tenant: UUID, segment: UUID, after: UUID | None, limit: int, topic: UUID | None
    ) -> list[Recipient]:
        """Who of a segment may be written to, in the order of their ids.

        Left out are the unsubscribed, the suppressed, and with a ``topic`` who does not want it. Nobody is left of a
        segment or topic that was deleted.

        Args:
            tenant: whose.
            segment: whose members.
            after: the last id of the page before; None for the first page.
            limit: members at most. Fewer than that are the last.
            topic: what the mail is about, if it has a topic.
        """
        declared = await Properties(self._runs).declared(tenant)
        rows = await self._runs.fetch(_MEMBERS, tenant, segment, topic, after or _FIRST, limit)
        return [
            Recipient(
                id=UUID(str(row["id"])),
                address=address_of(row["email"], row["email_key"]),
                first_name=row["first_name"],
                last_name=row["last_name"],
                properties=with_fallbacks(msgspec.json.decode(row["properties"]), declared),
            )
            for row in rows
        ]


async def audience(database: Database, tenant: UUID, segment: UUID, topic: UUID | None) -> Audience:
    """How many of a segment may be written to, as :meth:`Contacts.members` has it; seconds for a million.

    Raises:
        DatabaseDown: not known, perhaps because it took too long.
    """
    [row] = await database.fetch(_AUDIENCE, tenant, segment, topic, within=COUNTED_WITHIN)
    return Audience(**row)


def _contact(row: Any) -> Contact:
    return Contact(
        id=row["id"],
        email=row["email"],
        email_key=row["email_key"],
        first_name=row["first_name"],
        last_name=row["last_name"],
        unsubscribed=row["unsubscribed"],
        properties=msgspec.json.decode(row["properties"]),
        created_at=row["created_at"],
    )
