"""Reads of the ledger, which the tracker writes: emails, their deliveries and what happened to them.

Emails that are scheduled are not in it until they are released; they are read from their own table, in the same form.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from mailwarren.ingest.adapters.database import Database
from mailwarren.ingest.adapters.scheduled import Schedule
from mailwarren.ingest.adapters.soon import soon
from mailwarren.ingest.domain.cursor import Page

HEAD = """
SELECT e.id, e.created_at, e.lane, e.partition, e.sender, e.subject, e."to", e.cc, e.bcc, e.reply_to, e.tags,
       e.metadata, e.variables, e.message_id, least(e.expires_at, '9999-12-31Z') AS expires_at, e.on_unknown,
       e.cancel_requested_at, s.due_at AS scheduled_at, b.id AS broadcast_id
"""
"""An expiry beyond the year 9999 is more than Python can read; no call makes one, and one row must not hide a list."""
BESIDE = "LEFT JOIN scheduled s ON s.id = e.id LEFT JOIN broadcasts b ON b.id = e.request_id AND b.tenant = e.tenant"
_EMAIL = f"""{HEAD}, e.trace_id, c.html, c.text, c.syntax, s.history
FROM emails e {BESIDE} LEFT JOIN contents c ON c.digest = e.content
WHERE e.tenant = $1 AND e.id = $2
"""
_DELIVERIES = """
SELECT id, address, role, lane, shard, state, attempt, accepted_at, updated_at, ended_at, next_attempt_at, reply_code,
       reply_enhanced, reply_text, reply_command, trouble, bounce_class, site, host, opens, clicks, opened_at,
       clicked_at
FROM deliveries WHERE tenant = $1 AND email_id = $2 ORDER BY role DESC, address
"""
_EVENTS = """
SELECT e.id, e.delivery_id, e.kind, e.at, e.attempt, e.reply_code, e.reply_enhanced, e.reply_text, e.reply_command,
       e.trouble, e.bounce_class, e.site, e.host, e.duration, e.reason, e.next_attempt_at, e.tls, e.tls_policy,
       e.link, e.agent, e.flag, e.ip, e.egress
FROM events e WHERE e.tenant = $1 AND e.email_id = $2 ORDER BY e.at, e.attempt, e.id
"""
_AT = """
SELECT created_at FROM emails WHERE tenant = $1 AND id = $2 UNION ALL
SELECT created_at FROM scheduled WHERE tenant = $1 AND id = $2 LIMIT 1
"""
STATES = """, ARRAY(
  SELECT DISTINCT CASE WHEN d.state <> 'delivered' THEN d.state WHEN d.clicked_at IS NOT NULL THEN 'clicked'
    WHEN d.opened_at IS NOT NULL THEN 'opened' ELSE d.state END
  FROM deliveries d WHERE d.email_id = e.id AND d.tenant = e.tenant
) AS states
"""
"""As :func:`~mailwarren.ingest.domain.status.seen_state` has them."""


class Reads:
    """Everything is asked for a tenant; another tenant's email does not exist."""

    def __init__(self, database: Database, wait: float, schedule: Schedule) -> None:
        self._database = database
        self._schedule = schedule
        self._wait = wait

    async def email(self, tenant: UUID, email_id: UUID) -> Any:
        """An email's row, or None after having waited for the tracker to record it.

        Raises:
            DatabaseDown: not readable now.
        """

        async def read() -> Any:
            found = await self._database.fetchrow(_EMAIL, tenant, email_id)
            return found or await self._schedule.email(tenant, email_id)

        return await soon(read, self._wait)

    async def deliveries(self, tenant: UUID, row: Any) -> list[Any]:
        """The deliveries of an email's row: to, then cc, then bcc."""
        waiting: list[Any] | None = row.get("deliveries")
        return await self._database.fetch(_DELIVERIES, tenant, row["id"]) if waiting is None else waiting

    async def events(self, tenant: UUID, email_id: UUID) -> list[Any]:
        """What happened to them, oldest first."""
        return await self._database.fetch(_EVENTS, tenant, email_id)

    async def of_broadcast(self, tenant: UUID, broadcast: UUID, page: Page) -> list[Any]:
        """Rows of a page of the emails of a broadcast in reading order, which is that of their deliveries' ids.

        They were made within minutes; by their times, each page would have to look at all of them.
        """
        sign, order, cursor = ("<", "DESC", page.before) if page.before else (">", "ASC", page.after)
        sql = (
            f"{HEAD}{STATES} FROM deliveries o JOIN emails e ON e.id = o.email_id {BESIDE} "  # noqa: S608
            "WHERE o.tenant = $1 AND o.broadcast = $2 AND ($3::uuid IS NULL OR "
            f"o.id {sign} (SELECT d.id FROM deliveries d WHERE d.tenant = $1 AND d.email_id = $3 LIMIT 1)) "
            f"ORDER BY o.id {order} LIMIT $4"
        )
        return await self._database.fetch(sql, tenant, broadcast, cursor, page.fetch)

    async def page(self, tenant: UUID, page: Page) -> list[Any] | None:
        """Rows of a page in reading order, or None when the cursor is no email of the tenant."""
        cursor = page.after or page.before
        at: tuple[datetime, UUID] | None = None
        if cursor is not None:
            # The cursor may be an email sent a moment ago.
            row = await soon(lambda: self._database.fetchrow(_AT, tenant, cursor), self._wait)
            if row is None:
                return None
            at = row["created_at"], cursor
        # Before the ledger is read: what is released in between stands in both, and not in neither.
        waiting = await self._schedule.page(tenant, page, at)
        sign, order = (">", "ASC") if page.before else ("<", "DESC")
        beyond = f"AND (e.created_at, e.id) {sign} ($3, $4)" if at else ""
        sql = (
            f"{HEAD}{STATES} FROM emails e {BESIDE} WHERE e.tenant = $1 {beyond} "
            f"ORDER BY e.created_at {order}, e.id {order} LIMIT $2"
        )
        rows = await self._database.fetch(sql, tenant, page.fetch, *(at or ()))
        if not waiting:
            return rows
        known = {row["id"]: row for row in (*waiting, *rows)}
        newest = sorted(known.values(), key=lambda row: (row["created_at"], row["id"]), reverse=not page.before)
        return newest[: page.fetch]
