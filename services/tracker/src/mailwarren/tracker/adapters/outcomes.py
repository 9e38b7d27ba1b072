"""Events: what becomes of deliveries, and the record of what happened to them."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from mailwarren.contracts.events import Event
from mailwarren.contracts.parcel import Attempt
from mailwarren.store.states import State
from mailwarren.tracker.adapters.arrays import Row, columns
from mailwarren.tracker.domain.fold import Change, Report
from mailwarren.tracker.domain.stats import Cell
from mailwarren.tracker.domain.status import Status
from mailwarren.tracker.domain.suppression import Suppression

if TYPE_CHECKING:
    from asyncpg import Connection, Record

_LOCK = """
SELECT id, state, attempt, started, parked, extract(epoch FROM ended_at)::float8
FROM deliveries WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE
"""

_STUBS = """
INSERT INTO deliveries (id, email_id, tenant, address, lane, state, updated_at)
SELECT id, email_id, tenant, address, lane, 'accepted', to_timestamp(at)
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::float8[])
  AS t (id, email_id, tenant, address, lane, at)
ORDER BY id
ON CONFLICT DO NOTHING
"""

_SEEN = "SELECT id FROM events WHERE email_id = ANY($1::uuid[]) AND id = ANY($2::uuid[])"

_CHANGES = """
UPDATE deliveries d SET
  state = t.state, attempt = t.attempt, started = t.started, parked = t.parked,
  updated_at = greatest(d.updated_at, to_timestamp(t.at)), ended_at = to_timestamp(t.ended_at),
  next_attempt_at = CASE WHEN t.decided THEN to_timestamp(t.next_at) ELSE d.next_attempt_at END,
  reply_code = CASE WHEN t.tried THEN t.reply_code ELSE d.reply_code END,
  reply_enhanced = CASE WHEN t.tried THEN t.reply_enhanced ELSE d.reply_enhanced END,
  reply_text = CASE WHEN t.tried THEN t.reply_text ELSE d.reply_text END,
  reply_command = CASE WHEN t.tried THEN t.reply_command ELSE d.reply_command END,
  trouble = CASE WHEN t.tried THEN t.trouble ELSE d.trouble END,
  bounce_class = CASE WHEN t.tried THEN t.bounce_class ELSE d.bounce_class END,
  site = CASE WHEN t.tried THEN t.site ELSE d.site END,
  host = CASE WHEN t.tried THEN t.host ELSE d.host END
FROM unnest($1::uuid[], $2::text[], $3::int4[], $4::int4[], $5::int4[], $6::float8[], $7::float8[], $8::bool[],
            $9::float8[], $10::bool[], $11::int2[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[],
            $17::text[], $18::text[])
  AS t (id, state, attempt, started, parked, at, ended_at, decided, next_at, tried, reply_code, reply_enhanced,
        reply_text, reply_command, trouble, bounce_class, site, host)
WHERE d.id = t.id
"""

_EVENTS = """
INSERT INTO events (at, id, delivery_id, email_id, tenant, kind, attempt, reason, next_attempt_at, duration,
                    reply_code, reply_enhanced, reply_text, reply_command, trouble, bounce_class, site, host)
SELECT to_timestamp(at), id, delivery_id, email_id, tenant, kind, attempt, reason, to_timestamp(next_at), duration,
       reply_code, reply_enhanced, reply_text, reply_command, trouble, bounce_class, site, host
FROM unnest($1::float8[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::int4[], $8::text[],
            $9::float8[], $10::float8[], $11::int2[], $12::text[], $13::text[], $14::text[], $15::text[],
            $16::text[], $17::text[], $18::text[])
  AS t (at, id, delivery_id, email_id, tenant, kind, attempt, reason, next_at, duration, reply_code, reply_enhanced,
        reply_text, reply_command, trouble, bounce_class, site, host)
ON CONFLICT DO NOTHING
RETURNING id
"""

_SUPPRESSIONS = """
INSERT INTO suppressions AS s (tenant, address, reason, origin, email_id, created_at)
SELECT tenant, address, reason, origin, email_id, to_timestamp(at)
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::float8[])
  AS t (tenant, address, reason, origin, email_id, at)
ORDER BY tenant, address
ON CONFLICT (tenant, address) DO UPDATE
  SET reason = excluded.reason, origin = excluded.origin, email_id = excluded.email_id,
      created_at = excluded.created_at, expires_at = NULL
  WHERE s.expires_at IS NOT NULL
"""

_STATS = """
INSERT INTO stats_minute AS s (tenant, minute, lane, kind, count)
SELECT tenant, to_timestamp(minute), lane, kind, count
FROM unnest($1::uuid[], $2::float8[], $3::text[], $4::text[], $5::int8[]) AS t (tenant, minute, lane, kind, count)
ORDER BY tenant, minute, lane, kind
ON CONFLICT (tenant, minute, lane, kind) DO UPDATE SET count = s.count + excluded.count
"""

_NOT_TRIED: Row = (None,) * 8


async def lock(connection: "Connection[Record]", ids: Collection[UUID]) -> dict[UUID, Status]:
    """The status of those deliveries that are stored, locked in the order of their ids."""
    rows = await connection.fetch(_LOCK, list(ids))
    return {row[0]: Status(State(row[1]), row[2], row[3], row[4], row[5]) for row in rows}


async def add_stubs(connection: "Connection[Record]", missing: Mapping[UUID, Event]) -> None:
    """Rows for deliveries whose acceptance has not been seen, from any event of each."""
    rows = ((ident, e.email_id, e.tenant, e.to, e.lane, e.at) for ident, e in missing.items())
    await connection.execute(_STUBS, *columns(rows, 6))


async def seen(connection: "Connection[Record]", events: Sequence[Event]) -> set[UUID]:
    """Those ids of events that are recorded."""
    if not events:
        return set()
    emails = list({event.email_id for event in events})
    return {row[0] for row in await connection.fetch(_SEEN, emails, [event.id for event in events])}


async def write_changes(
    connection: "Connection[Record]", changes: Mapping[UUID, Change], known: Mapping[UUID, Status]
) -> None:
    """Update the rows of deliveries whose status is another than the ``known`` one."""
    rows = [_change(ident, change) for ident, change in changes.items() if change.status != known[ident]]
    if rows:
        await connection.execute(_CHANGES, *columns(rows, 18))


async def write_events(connection: "Connection[Record]", reports: Iterable[Report]) -> set[UUID]:
    """Insert events; the ids of those that were not there."""
    rows = await connection.fetch(_EVENTS, *columns(map(_event, reports), 18))
    return {row[0] for row in rows}


async def write_suppressions(connection: "Connection[Record]", entries: Iterable[Suppression]) -> None:
    """Put addresses on the lists of their tenants. An entry that stands stays, unless it would expire."""
    rows = {(s.tenant, s.address): (s.tenant, s.address, s.reason, s.origin, s.email_id, s.at) for s in entries}
    if rows:
        await connection.execute(_SUPPRESSIONS, *columns(rows.values(), 6))


async def add_stats(connection: "Connection[Record]", cells: Counter[Cell]) -> None:
    """Add to the counts per minute."""
    if cells:
        await connection.execute(_STATS, *columns(((*cell, number) for cell, number in cells.items()), 5))


def _change(ident: UUID, change: Change) -> Row:
    status, decided = change.status, change.decided
    return (
        ident,
        status.state,
        status.attempt,
        status.started,
        status.parked,
        change.at,
        status.ended_at,
        decided is not None,
        decided.next_attempt_at if decided is not None and status.state is State.DEFERRED else None,
        change.tried is not None,
        *_tried(change.tried),
    )


def _event(report: Report) -> Row:
    event = report.event
    return (
        event.at,
        event.id,
        event.delivery,
        event.email_id,
        event.tenant,
        event.kind,
        event.attempt,
        event.reason,
        report.next_attempt_at,
        event.tried and event.tried.duration,
        *_tried(event.tried),
    )


def _tried(tried: Attempt | None) -> Row:
    if tried is None:
        return _NOT_TRIED
    reply = tried.reply
    if reply is None:
        return (None, None, None, None, tried.trouble, tried.bounce_class, tried.site or None, tried.host or None)
    return (
        reply.code,
        reply.enhanced,
        reply.text,
        reply.command,
        tried.trouble,
        tried.bounce_class,
        tried.site or None,
        tried.host or None,
    )
