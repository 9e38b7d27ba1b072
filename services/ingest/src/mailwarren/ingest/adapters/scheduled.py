"""``scheduled`` as the API writes and reads it. Times are the server's, so that processes with other clocks agree.

A change locks the row, so that it comes before a release or after it. The other side is :mod:`.releases`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from mailwarren.contracts.webhooks import EventType
from mailwarren.ingest.adapters.database import Database
from mailwarren.ingest.adapters.webhook_notices import WebhookNotices
from mailwarren.ingest.domain.cursor import Page
from mailwarren.ingest.domain.email import Numbered
from mailwarren.ingest.domain.refusal import invalid
from mailwarren.ingest.domain.scheduled import as_row, check_expiry, keep, keep_bodies, kept, not_open, scheduled_facts
from mailwarren.store.states import ScheduleState

ALONE = 100
"""Emails above which a call is encoded in a thread."""
WITHIN = 10.0
"""Seconds for the 10,000 rows of a bulk call."""

_CONTENTS = """
INSERT INTO scheduled_contents (id, tenant, body, created_at)
SELECT id, $1, body, now() FROM unnest($2::uuid[], $3::bytea[]) AS t (id, body) ON CONFLICT DO NOTHING
"""
_STORE = """
INSERT INTO scheduled (id, tenant, base, position, lane, state, due_at, created_at, mail, content, size, history)
SELECT t.id, $1, $2, t.position, t.lane, 'scheduled', t.due_at, now(), t.mail, t.content, t.size,
  jsonb_build_array(jsonb_build_object('at', now(), 'kind', 'scheduled', 'due_at', t.due_at))
FROM unnest($3::uuid[], $4::int4[], $5::text[], $6::timestamptz[], $7::bytea[], $8::uuid[], $9::int4[])
  AS t (id, position, lane, due_at, mail, content, size)
ON CONFLICT DO NOTHING
RETURNING id, created_at
"""
_HEAD = "SELECT s.id, s.base, s.created_at, s.lane, s.state, s.due_at, s.held_at, s.ended_at, s.mail, s.history"
_READ = f"""{_HEAD}, c.body
FROM scheduled s JOIN scheduled_contents c ON c.id = s.content
WHERE s.tenant = $1 AND s.id = $2
"""
_PAGE = f"""{_HEAD}
FROM scheduled s
WHERE s.tenant = $1 AND s.state <> 'released' AND NOT EXISTS (SELECT FROM emails e WHERE e.id = s.id)
"""
_OPEN = f"{_HEAD} FROM scheduled s WHERE s.tenant = $1 AND s.state IN ('scheduled', 'held')"
_LOCK = "SELECT id, base, state, attempts, mail FROM scheduled WHERE tenant = $1 AND id = $2 FOR UPDATE"
_MOVE = """
UPDATE scheduled SET state = 'scheduled', due_at = $2, held_at = NULL, lease_until = NULL, owner = NULL,
  history = history || jsonb_build_array(jsonb_build_object('at', now(), 'kind', $3::text, 'due_at', $2::timestamptz))
WHERE id = $1
"""
_CANCEL = """
UPDATE scheduled SET state = 'canceled', ended_at = now(), lease_until = NULL, owner = NULL,
  history = history || jsonb_build_array(jsonb_build_object('at', now(), 'kind', 'canceled'))
WHERE id = $1
"""

Withdraw = Callable[[UUID], Awaitable[None]]
"""Tells the senders and the tracker that an email of this base is withdrawn."""


class Schedule:
    """Emails that wait for their time. Every method may raise ``DatabaseDown``; another tenant's email is none."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def store(
        self, tenant: UUID, base: UUID, emails: Sequence[tuple[Numbered, datetime]], *, bulk: bool, trace: str | None
    ) -> None:
        """Keep the emails of one call, all or none. What a call with the same ids has kept stays as it is."""
        # Encoding takes some 10 µs an email: the 10,000 of a bulk call beside everybody else's requests.
        many = len(emails) > ALONE
        encode = partial(_rows, emails, bulk=bulk, trace=trace)
        bodies, rows = await asyncio.to_thread(encode) if many else encode()
        async with self._database.connection(WITHIN) as connection, connection.transaction():
            await connection.execute(_CONTENTS, tenant, *zip(*bodies, strict=True), timeout=WITHIN)
            kept = await connection.fetch(_STORE, tenant, base, *zip(*rows, strict=True), timeout=WITHIN)
            notices = WebhookNotices(connection)
            if kept and await notices.wanted(tenant, EventType.EMAIL_SCHEDULED):
                made = {row["id"]: row["created_at"] for row in kept}
                told = [scheduled_facts(one, made[one.id]) for one, _ in emails if one.id in made]
                await notices.tell(tenant, EventType.EMAIL_SCHEDULED, told)

    async def email(self, tenant: UUID, email_id: UUID) -> dict[str, Any] | None:
        """A row as the ledger's would be."""
        row = await self._database.fetchrow(_READ, tenant, email_id)
        return as_row(row, row["body"]) if row else None

    async def page(self, tenant: UUID, page: Page, at: tuple[datetime, UUID] | None) -> list[dict[str, Any]]:
        """Rows of a page of emails that the ledger does not have, in reading order."""
        sign, order = ("<", "DESC") if page.before is None else (">", "ASC")
        beyond = f"AND (s.created_at, s.id) {sign} ($3, $4)" if at else ""
        sql = f"{_PAGE} {beyond} ORDER BY s.created_at {order}, s.id {order} LIMIT $2"
        return [as_row(row) for row in await self._database.fetch(sql, tenant, page.fetch, *(at or ()))]

    async def open(self, tenant: UUID, page: Page, state: ScheduleState | None) -> list[dict[str, Any]] | None:
        """Rows of a page of what waits, the next due first, in reading order; None when the cursor is none of them."""
        values: list[object] = [tenant, page.fetch]
        sql, order = _OPEN, "DESC" if page.before else "ASC"
        if state is not None:
            values.append(state)
            sql += f" AND s.state = ${len(values)}"
        if cursor := page.after or page.before:
            at = await self._database.fetchrow(
                "SELECT due_at FROM scheduled WHERE tenant = $1 AND id = $2", tenant, cursor
            )
            if at is None:
                return None
            sql += f" AND (s.due_at, s.id) {'<' if page.before else '>'} (${len(values) + 1}, ${len(values) + 2})"
            values += [at["due_at"], cursor]
        sql += f" ORDER BY s.due_at {order}, s.id {order} LIMIT $2"
        return [as_row(row) for row in await self._database.fetch(sql, *values)]

    async def reschedule(self, tenant: UUID, email_id: UUID, due: datetime) -> bool:
        """Send it at another time; false when it is not scheduled.

        Raises:
            Refusal: 422, it is too late for that.
        """

        async def move(connection: Any, row: Mapping[str, Any]) -> None:
            check_expiry(kept(row["mail"]).expires_at, due)
            await connection.execute(_MOVE, email_id, due, "rescheduled")

        return await self._change(tenant, email_id, "rescheduled", move)

    async def release(self, tenant: UUID, email_id: UUID) -> bool:
        """Send a held one now; false when it is not scheduled.

        Raises:
            Refusal: 422, it is not held.
        """
        async with self._database.connection() as connection, connection.transaction():
            row = await connection.fetchrow(_LOCK, tenant, email_id)
            if row is None:
                return False
            if row["state"] != ScheduleState.HELD:
                raise invalid(f"Only a held email can be released; this one is {row['state']}.")
            now = await connection.fetchval("SELECT now()")
            await connection.execute(_MOVE, email_id, now, "released")
            return True

    async def cancel(self, tenant: UUID, email_id: UUID, withdraw: Withdraw) -> bool:
        """Never send it; false when it is not scheduled, or no longer.

        Args:
            tenant: whose.
            email_id: which.
            withdraw: called when a release of it was begun, and before it is noted here: it may be in the broker.

        Raises:
            Refusal: 422, it was canceled before; or what ``withdraw`` raises.
        """
        async with self._database.connection() as connection, connection.transaction():
            row = await connection.fetchrow(_LOCK, tenant, email_id)
            if row is None or row["state"] == ScheduleState.RELEASED:
                return False
            if refusal := not_open(ScheduleState(row["state"]), 0, "canceled"):
                raise refusal
            if row["attempts"]:
                await withdraw(row["base"])
            await connection.execute(_CANCEL, email_id)
            return True

    async def _change(
        self, tenant: UUID, email_id: UUID, what: str, change: Callable[[Any, Mapping[str, Any]], Awaitable[None]]
    ) -> bool:
        async with self._database.connection() as connection, connection.transaction():
            row = await connection.fetchrow(_LOCK, tenant, email_id)
            if row is None:
                return False
            if refusal := not_open(ScheduleState(row["state"]), row["attempts"], what):
                raise refusal
            await change(connection, row)
            return True


def _rows(
    emails: Sequence[tuple[Numbered, datetime]],
    *,
    bulk: bool,
    trace: str | None,
) -> tuple[list[tuple[UUID, bytes]], list[tuple[object, ...]]]:
    bodies: dict[int, tuple[UUID, bytes]] = {}
    rows: list[tuple[object, ...]] = []
    for numbered, due in emails:
        email = numbered.email
        # The rows of a bulk call share a content object, and it stays alive while this runs.
        found = bodies.get(id(email.content))
        if found is None:
            found = bodies[id(email.content)] = numbered.id, keep_bodies(email.content)
        mail = keep(email, bulk=bulk, trace=trace)
        rows.append((numbered.id, numbered.index, email.lane, due, mail, found[0], len(found[1])))
    return list(bodies.values()), rows
