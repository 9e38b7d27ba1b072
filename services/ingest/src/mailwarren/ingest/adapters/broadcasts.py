"""``broadcasts`` as the API writes and reads it. Times are the server's; a change locks the row by its state.

The other side is :mod:`.expansions`. What became of the mails is the ledger's: counts are never kept here.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from mailwarren.contracts.ids import new_id
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.tracking import COUNTED
from mailwarren.ingest.adapters.contacts import COUNTED_WITHIN
from mailwarren.ingest.adapters.database import Database
from mailwarren.ingest.adapters.keyset import fetch_page
from mailwarren.ingest.domain.broadcast_mail import BroadcastMail
from mailwarren.ingest.domain.broadcasts import Draft
from mailwarren.ingest.domain.cursor import Page
from mailwarren.ingest.domain.requests import TemplateRef
from mailwarren.store.states import ENDS, BroadcastState

GRACE = 5.0
"""Seconds in which the order that the API itself gives should have reached a worker; then the scheduler gives one."""

_COLUMNS = (
    "b.id, b.tenant, b.state, b.name, b.segment, b.topic, b.lane, b.sender, b.subject, b.reply_to, b.preview_text, "
    "b.html, b.text, b.template, b.resend_of, b.resend_states, b.created_at, b.updated_at, b.due_at, b.started_at, "
    "b.ended_at, b.mail, b.published, b.audience, b.trouble"
)
_FIND = f"SELECT {_COLUMNS} FROM broadcasts b WHERE b.tenant = $1 AND b.id = $2"  # noqa: S608 - constants
_PAGE = """
SELECT b.id, b.state, b.name, b.segment, b.topic, b.lane, b.sender, b.subject, b.reply_to, b.preview_text,
  b.template, b.resend_of, b.created_at, b.due_at, b.ended_at, b.trouble
FROM broadcasts b WHERE b.tenant = $1
"""
_INSERT = """
INSERT INTO broadcasts (id, tenant, name, segment, topic, lane, sender, subject, reply_to, preview_text, html, text,
  template, resend_of, resend_states, mail, state, due_at, order_at, orders, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
  CASE WHEN $17 <> 'draft' THEN coalesce($18, now()) END,
  CASE WHEN $17 <> 'draft' THEN coalesce($18, now() + $19::float8 * interval '1 second') END, 1, now(), now())
"""
_UPDATE = """
UPDATE broadcasts SET name = $4, segment = $5, topic = $6, lane = $7, sender = $8, subject = $9, reply_to = $10,
  preview_text = $11, html = $12, text = $13, template = $14, updated_at = now()
WHERE tenant = $1 AND id = $2 AND state = 'draft' AND updated_at = $3 RETURNING id
"""
_SEND = """
UPDATE broadcasts SET mail = $4, state = CASE WHEN $5::timestamptz IS NULL THEN 'queued' ELSE 'scheduled' END,
  due_at = coalesce($5, now()), order_at = coalesce($5, now() + $6::float8 * interval '1 second'), orders = 1,
  updated_at = now()
WHERE tenant = $1 AND id = $2 AND state = 'draft' AND updated_at = $3 RETURNING id
"""
_PAUSE = """
UPDATE broadcasts SET state = 'paused', order_at = NULL, updated_at = now()
WHERE tenant = $1 AND id = $2 AND state IN ('scheduled', 'queued', 'sending') RETURNING state
"""
_RESUME = """
UPDATE broadcasts SET state = CASE WHEN due_at > now() THEN 'scheduled' ELSE 'queued' END,
  order_at = greatest(due_at, now()), trouble = NULL, updated_at = now()
WHERE tenant = $1 AND id = $2 AND state IN ('paused', 'held', 'failed') RETURNING state
"""
_CANCEL = """
UPDATE broadcasts SET state = 'canceled', ended_at = coalesce(ended_at, now()), order_at = NULL, updated_at = now(),
  told_at = CASE WHEN started_at IS NULL THEN now() END
WHERE tenant = $1 AND id = $2 AND state = ANY($3::text[]) RETURNING told_at IS NULL AS begun
"""
_DELETE = """
DELETE FROM broadcasts WHERE tenant = $1 AND id = $2 AND started_at IS NULL
  AND state IN ('draft', 'scheduled', 'held', 'canceled') RETURNING id
"""
_STATS = "SELECT state, count(*) AS count FROM deliveries WHERE tenant = $1 AND broadcast = $2 GROUP BY state"
_OPEN = """
SELECT EXISTS (SELECT FROM deliveries WHERE tenant = $1 AND broadcast = $2 AND state <> ALL($3::text[]))
  OR (SELECT count(*) FROM deliveries WHERE tenant = $1 AND broadcast = $2) < $4 AS open
"""
# {0} and {1}: the direction. States are looked up in an index alone: ten bounces of a million mails are found in it.
_RECIPIENTS = """
SELECT d.id, d.email_id, d.address, d.bounce_class, d.opens, d.clicks, c.id AS contact
FROM (
  SELECT id FROM deliveries WHERE tenant = $1 AND broadcast = $2 AND state = ANY($3::text[])
    AND ($7::uuid IS NULL OR id {0} $7) ORDER BY id {1} OFFSET 0
) o
JOIN deliveries d ON d.id = o.id
LEFT JOIN contacts c ON c.tenant = $1 AND c.email_key = lower(d.address COLLATE "C") COLLATE "default"
WHERE ($4::text IS NULL OR position(lower($4) IN lower(d.address)) > 0)
  AND ($5::text[] IS NULL OR coalesce(d.bounce_class, '') = ANY($5)) AND ($6::text[] IS NULL OR
    coalesce(d.bounce_class, '') <> ALL($6))
  AND CASE $9::text
    WHEN 'opened' THEN d.opened_at IS NOT NULL WHEN 'clicked' THEN d.clicked_at IS NOT NULL
    WHEN 'unsubscribed' THEN EXISTS (SELECT FROM unsubscribes u WHERE u.tenant = $1 AND u.address = lower(d.address)
      AND u.source = $2 AND u.reason = 'unsubscribe')
    ELSE true END
ORDER BY o.id {1} LIMIT $8
"""

# A link has no id: that of its text. Before the cursor is what was clicked more, or as much with a lower id.
_CLICKED = """
WITH links AS (
  SELECT md5(e.link)::uuid AS id, e.link AS url, count(*) AS clicks, count(DISTINCT e.delivery_id) AS unique_clicks
  FROM deliveries d JOIN events e ON e.email_id = d.email_id AND e.delivery_id = d.id
  WHERE d.tenant = $1 AND d.broadcast = $2 AND d.clicked_at IS NOT NULL AND e.kind = 'clicked' AND e.link IS NOT NULL
    AND coalesce(e.flag, '') = ANY($3::text[])
  GROUP BY e.link
)
SELECT l.id, l.url, l.clicks, l.unique_clicks FROM links l LEFT JOIN links c ON c.id = $4::uuid
WHERE $4::uuid IS NULL OR (-l.clicks, l.id) {0} (-c.clicks, c.id)
ORDER BY l.clicks {1}, l.id {2} LIMIT $5
"""

_THEIRS = """
SELECT e.delivery_id, e.link AS url, count(*) AS clicks FROM events e
WHERE e.tenant = $1 AND e.email_id = ANY($2::uuid[]) AND e.delivery_id = ANY($3::uuid[]) AND e.kind = 'clicked'
  AND e.link IS NOT NULL AND coalesce(e.flag, '') = ANY($4::text[])
GROUP BY e.delivery_id, e.link ORDER BY e.delivery_id, clicks DESC, url
"""


class ResentAlready(Exception):
    """There is a resend of this broadcast."""


class Broadcasts:
    """The broadcasts of all tenants. Every method may raise ``DatabaseDown``; another tenant's broadcast is none."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self,
        tenant: UUID,
        draft: Draft,
        mail: BroadcastMail | None = None,
        due: datetime | None = None,
        *,
        resend_of: UUID | None = None,
        resend_states: Sequence[str] | None = None,
    ) -> UUID:
        """A draft, or with a ``mail`` one that is sent at once or at a time.

        Raises:
            ResentAlready: nothing was made.
        """
        ident = new_id()
        state = _state(mail, due)
        states = None if resend_states is None else list(resend_states)
        try:
            await self._database.fetch(
                _INSERT, ident, tenant, *_values(draft), resend_of, states, _stored(mail), state, due, GRACE
            )
        except asyncpg.UniqueViolationError as error:
            raise ResentAlready from error
        return ident

    async def find(self, tenant: UUID, ident: UUID) -> Any:
        """A broadcast's row, or None."""
        return await self._database.fetchrow(_FIND, tenant, ident)

    async def resend_of(self, tenant: UUID, ident: UUID) -> UUID | None:
        """The resend of a broadcast, if there is one."""
        row = await self._database.fetchrow(
            "SELECT id FROM broadcasts WHERE tenant = $1 AND resend_of = $2", tenant, ident
        )
        return None if row is None else UUID(str(row["id"]))

    async def page(self, tenant: UUID, page: Page) -> list[Any]:
        """Rows of a page in reading order, without html and text."""
        return await fetch_page(self._database, _PAGE, "b.id", page, tenant)

    async def update(self, tenant: UUID, row: Any, draft: Draft) -> bool:
        """Change a draft; false when it is none any more, or somebody else changed it since ``row`` was read."""
        return bool(await self._database.fetch(_UPDATE, tenant, row["id"], row["updated_at"], *_values(draft)))

    async def send(self, tenant: UUID, row: Any, mail: BroadcastMail, due: datetime | None) -> bool:
        """Send a draft, at once or at a time; false as for :meth:`update`."""
        return bool(await self._database.fetch(_SEND, tenant, row["id"], row["updated_at"], _stored(mail), due, GRACE))

    async def pause(self, tenant: UUID, ident: UUID) -> bool:
        """Publish nothing more of it; whether it was on its way."""
        return bool(await self._database.fetch(_PAUSE, tenant, ident))

    async def resume(self, tenant: UUID, ident: UUID) -> bool:
        """Go on with it; whether it was paused, held or given up."""
        return bool(await self._database.fetch(_RESUME, tenant, ident))

    async def cancel(self, tenant: UUID, ident: UUID, wanted: Sequence[BroadcastState]) -> bool | None:
        """Never publish more of it: whether mail of it may be in the broker; None when its state is none of these."""
        row = await self._database.fetchrow(_CANCEL, tenant, ident, list(wanted))
        return None if row is None else bool(row["begun"])

    async def told(self, ident: UUID) -> None:
        """The senders know of its cancel."""
        await self._database.fetch("UPDATE broadcasts SET told_at = now() WHERE id = $1", ident)

    async def delete(self, tenant: UUID, ident: UUID) -> bool:
        """Forget one of which nothing was published; whether it was such one."""
        return bool(await self._database.fetch(_DELETE, tenant, ident))

    async def states(self, tenant: UUID, ident: UUID) -> dict[str, int]:
        """Its deliveries in the ledger, by state: a look at as many entries of an index as it has recipients."""
        rows = await self._database.fetch(_STATS, tenant, ident, within=COUNTED_WITHIN)
        return {row["state"]: row["count"] for row in rows}

    async def is_open(self, tenant: UUID, row: Any) -> bool:
        """Whether a delivery of it has no end, or is not in the ledger yet."""
        values = (tenant, row["id"], sorted(ENDS), row["published"])
        [found] = await self._database.fetch(_OPEN, *values, within=COUNTED_WITHIN)
        return bool(found["open"])

    async def recipients(
        self,
        tenant: UUID,
        ident: UUID,
        page: Page,
        states: Sequence[str],
        *,
        address: str | None = None,
        classes: Sequence[str] | None = None,
        other_than: Sequence[str] | None = None,
        seen: str | None = None,
    ) -> list[Any]:
        """Deliveries of it in these states, in the order of their ids.

        Args:
            tenant: whose.
            ident: which.
            page: of them.
            states: that they are in.
            address: a part of their addresses.
            classes: of bounces; ``""`` for none.
            other_than: the same for those that are left out.
            seen: ``opened``, ``clicked`` or ``unsubscribed``: those of which a reader did that.
        """
        sign, order, cursor = ("<", "DESC", page.before) if page.before else (">", "ASC", page.after)
        # A part of an address stands in no index: all of a broadcast may have to be looked through for it.
        return await self._database.fetch(
            _RECIPIENTS.format(sign, order), tenant, ident, list(states), address, classes, other_than, cursor,
            page.fetch, seen, within=COUNTED_WITHIN,
        )  # fmt: skip

    async def clicked_by(self, tenant: UUID, recipients: Sequence[Any]) -> dict[UUID, list[Any]]:
        """What each of these :meth:`recipients` clicked, by the id of its delivery, most clicked first."""
        emails, ids = [one["email_id"] for one in recipients], [one["id"] for one in recipients]
        flags = [flag or "" for flag in COUNTED]
        found: dict[UUID, list[Any]] = {}
        for row in await self._database.fetch(_THEIRS, tenant, emails, ids, flags, within=COUNTED_WITHIN):
            found.setdefault(row["delivery_id"], []).append(row)
        return found

    async def clicked_links(self, tenant: UUID, ident: UUID, page: Page) -> list[Any]:
        """What its readers clicked, most clicked first."""
        sign, order, cursor = ("<", "", page.before) if page.before else (">", "DESC", page.after)
        statement = _CLICKED.format(sign, order, "DESC" if page.before else "")
        flags = [flag or "" for flag in COUNTED]
        return await self._database.fetch(
            statement, tenant, ident, flags, cursor, page.fetch, within=COUNTED_WITHIN
        )  # fmt: skip


def draft_of(row: Any) -> Draft:
    """What somebody wrote, of a row with all columns."""
    template = row["template"]
    return Draft(
        name=row["name"],
        segment=UUID(str(row["segment"])),
        topic=row["topic"] and UUID(str(row["topic"])),
        lane=Lane(row["lane"]),
        sender=row["sender"],
        subject=row["subject"],
        reply_to=tuple(row["reply_to"]),
        preview_text=row["preview_text"],
        html=row["html"],
        text=row["text"],
        template=template and msgspec.json.decode(template, type=TemplateRef),
    )


def _values(draft: Draft) -> tuple[object, ...]:
    return (
        draft.name, draft.segment, draft.topic, draft.lane, draft.sender, draft.subject, list(draft.reply_to),
        draft.preview_text, draft.html, draft.text,
        None if draft.template is None else msgspec.json.encode(draft.template).decode(),
    )  # fmt: skip


def _stored(mail: BroadcastMail | None) -> bytes | None:
    return None if mail is None else msgspec.json.encode(mail)


def _state(mail: BroadcastMail | None, due: datetime | None) -> BroadcastState:
    if mail is None:
        return BroadcastState.DRAFT
    return BroadcastState.QUEUED if due is None else BroadcastState.SCHEDULED
