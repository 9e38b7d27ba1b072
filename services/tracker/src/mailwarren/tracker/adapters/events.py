"""Events: the record of what happened, and what follows from it for lists and counts."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from mailwarren.contracts.events import Event
from mailwarren.tracker.adapters.rows import Row, columns, copy, moment, tried_columns
from mailwarren.tracker.domain.fold import Report
from mailwarren.tracker.domain.stats import Cell
from mailwarren.tracker.domain.suppression import FULL_HOLDS, FULL_TIMES, FULL_WITHIN, Suppressed, Suppression

if TYPE_CHECKING:
    from asyncpg import Connection, Record

DAY = 86400.0

# An event does not happen before its mail is accepted (a day is granted to clocks): older partitions are not searched.
_SEEN = """
SELECT id FROM events WHERE email_id = ANY($1::uuid[]) AND id = ANY($2::uuid[]) AND at >= to_timestamp($3::float8)
"""

_EVENT = (
    "at", "id", "delivery_id", "email_id", "tenant", "kind", "attempt", "reason", "next_attempt_at", "duration",
    "reply_code", "reply_enhanced", "reply_text", "reply_command", "trouble", "bounce_class", "site", "host",
    "tls", "tls_policy", "egress",
)  # fmt: skip

_SUPPRESSIONS = """
INSERT INTO suppressions AS s (tenant, address, reason, origin, email_id, created_at)
SELECT tenant, address, reason, origin, email_id, to_timestamp(at)
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::float8[])
  AS t (tenant, address, reason, origin, email_id, at)
ORDER BY tenant, address
ON CONFLICT (tenant, address) DO UPDATE
  SET id = excluded.id, reason = excluded.reason, origin = excluded.origin, email_id = excluded.email_id,
      created_at = excluded.created_at, expires_at = NULL
  WHERE s.expires_at IS NOT NULL
RETURNING s.tenant, s.address, s.id, s.reason, s.origin, s.email_id
"""

_FULL = """
INSERT INTO suppressions AS s (tenant, address, reason, origin, email_id, created_at, expires_at)
SELECT tenant, address, reason, origin, email_id, to_timestamp(at), to_timestamp(at + $7)
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::float8[])
  AS t (tenant, address, reason, origin, email_id, at)
WHERE $8 <= (
  SELECT count(*) FROM (
    SELECT 1 FROM deliveries d
    WHERE d.tenant = t.tenant AND lower(d.address) = lower(t.address) AND lower(d.address COLLATE "C") = t.address
      AND d.bounce_class = 'quota' AND d.state = 'bounced' AND d.ended_at > to_timestamp(t.at - $9)
    LIMIT $8
  ) AS found
)
ORDER BY tenant, address
ON CONFLICT (tenant, address) DO UPDATE
  SET email_id = excluded.email_id, created_at = excluded.created_at, expires_at = excluded.expires_at
  WHERE s.expires_at IS NOT NULL AND s.reason = excluded.reason
RETURNING s.tenant, s.address, CASE WHEN s.xmax = 0 THEN s.id END AS id, s.reason, s.origin, s.email_id
"""
"""One that was there only lasts longer: without an id, it is nothing new (``xmax`` is 0 in a row that was inserted)."""

_STATS = """
INSERT INTO stats_minute AS s (tenant, minute, lane, kind, count)
SELECT tenant, to_timestamp(minute), lane, kind, count
FROM unnest($1::uuid[], $2::float8[], $3::text[], $4::text[], $5::int8[]) AS t (tenant, minute, lane, kind, count)
ORDER BY tenant, minute, lane, kind
ON CONFLICT (tenant, minute, lane, kind) DO UPDATE SET count = s.count + excluded.count
"""


async def seen(connection: "Connection[Record]", events: Sequence[Event], *, ever: bool = False) -> set[UUID]:
    """Those ids of events that are recorded; with ``ever`` even one that happened long before its acceptance."""
    if not events:
        return set()
    emails = list({event.email_id for event in events})
    since = -math.inf if ever else min(event.accepted_at or 0.0 for event in events) - DAY
    return {row[0] for row in await connection.fetch(_SEEN, emails, [event.id for event in events], since)}


async def write_events(connection: "Connection[Record]", reports: Iterable[Report]) -> None:
    """Insert events that are not recorded.

    Raises:
        asyncpg.UniqueViolationError: one is.
    """
    await copy(connection, "events", _EVENT, [_event(report) for report in reports])


async def write_suppressions(connection: "Connection[Record]", entries: Iterable[Suppression]) -> list[Suppressed]:
    """Put addresses on the lists of their tenants; what is new. An entry that stands stays, unless it would expire."""
    wanted = {(s.tenant, s.address): s for s in entries}
    return await _suppress(connection, _SUPPRESSIONS, wanted)


async def write_full_mailboxes(connection: "Connection[Record]", entries: Iterable[Suppression]) -> list[Suppressed]:
    """Put those addresses on the lists whose mailboxes have been full too often, as their deliveries say."""
    wanted = {(s.tenant, s.address): s for s in entries}
    return await _suppress(connection, _FULL, wanted, FULL_HOLDS, FULL_TIMES, FULL_WITHIN)


async def _suppress(
    connection: "Connection[Record]", sql: str, wanted: Mapping[tuple[UUID, str], Suppression], *terms: float
) -> list[Suppressed]:
    if not wanted:
        return []
    rows = [(s.tenant, s.address, s.reason, s.origin, s.email_id, s.at) for s in wanted.values()]
    made = await connection.fetch(sql, *columns(rows, 6), *terms)
    return [Suppressed(row["id"], wanted[row["tenant"], row["address"]]) for row in made if row["id"] is not None]


async def add_stats(connection: "Connection[Record]", cells: Counter[Cell]) -> None:
    """Add to the counts per minute."""
    if cells:
        await connection.execute(_STATS, *columns(((*cell, number) for cell, number in cells.items()), 5))


def _event(report: Report) -> Row:
    event = report.event
    return (
        moment(event.at),
        event.id,
        event.delivery,
        event.email_id,
        event.tenant,
        event.kind,
        event.attempt,
        event.reason,
        None if report.next_attempt_at is None else moment(report.next_attempt_at),
        event.tried and event.tried.duration,
        *tried_columns(event.tried),
    )
