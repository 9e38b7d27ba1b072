"""Deliveries: one row each, made by whichever comes first, its acceptance or an event."""

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING
from uuid import UUID

from mailwarren.contracts.events import Event
from mailwarren.contracts.parcel import Delivery, Parcel
from mailwarren.store.states import State
from mailwarren.tracker.adapters.arrays import Row, columns, tried_columns
from mailwarren.tracker.domain.fold import Change
from mailwarren.tracker.domain.status import Status

if TYPE_CHECKING:
    from asyncpg import Connection, Record

Accepted = dict[UUID, tuple[Parcel, Delivery]]

# One statement inserts the rows that are missing, fills in those that an event made before their acceptance, and locks
# all others, in the order of their ids: two trackers never wait for each other in a circle. RETURNING gives the rows
# that were inserted or filled in.
_ENSURE = """
INSERT INTO deliveries AS d (id, email_id, tenant, address, role, lane, shard, partition, state, accepted_at,
                             updated_at)
SELECT id, email_id, tenant, address, role, lane, shard, partition, 'accepted', to_timestamp(accepted_at),
       to_timestamp(at)
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::int2[],
            $9::float8[], $10::float8[])
  AS t (id, email_id, tenant, address, role, lane, shard, partition, accepted_at, at)
ORDER BY id
ON CONFLICT (id) DO UPDATE
  SET accepted_at = excluded.accepted_at, role = excluded.role, shard = excluded.shard, partition = excluded.partition
  WHERE d.accepted_at IS NULL AND excluded.accepted_at IS NOT NULL
RETURNING id
"""

_READ = """
SELECT id, state, attempt, started, parked, extract(epoch FROM ended_at)::float8
FROM deliveries WHERE id = ANY($1::uuid[])
"""

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


async def ensure(connection: "Connection[Record]", parcels: Iterable[Parcel], events: Iterable[Event]) -> list[Parcel]:
    """Make sure that every delivery of the parcels and events has a row, and lock them all.

    Returns:
        For each delivery that was not accepted before, its parcel.
    """
    accepted: Accepted = {delivery.id: (parcel, delivery) for parcel in parcels for delivery in parcel.deliveries}
    rows = {ident: _accepted(parcel, delivery) for ident, (parcel, delivery) in accepted.items()}
    for event in events:
        if event.delivery not in rows:
            rows[event.delivery] = _heard_of(event)
    found = await connection.fetch(_ENSURE, *columns(rows.values(), 10))
    return [accepted[row[0]][0] for row in found if row[0] in accepted]


async def read(connection: "Connection[Record]", ids: Collection[UUID]) -> dict[UUID, Status]:
    """The status of those deliveries that are stored."""
    rows = await connection.fetch(_READ, list(ids))
    return {row[0]: Status(State(row[1]), row[2], row[3], row[4], row[5]) for row in rows}


async def write_changes(
    connection: "Connection[Record]", changes: Mapping[UUID, Change], known: Mapping[UUID, Status]
) -> None:
    """Update the rows of deliveries whose status is another than the ``known`` one."""
    rows = [_change(ident, change) for ident, change in changes.items() if change.status != known[ident]]
    if rows:
        await connection.execute(_CHANGES, *columns(rows, 18))


def _accepted(parcel: Parcel, delivery: Delivery) -> Row:
    return (
        delivery.id,
        delivery.email_id,
        parcel.tenant,
        delivery.to,
        delivery.role,
        parcel.lane,
        parcel.shard,
        parcel.partition,
        parcel.accepted_at,
        parcel.accepted_at,
    )


def _heard_of(event: Event) -> Row:
    return (event.delivery, event.email_id, event.tenant, event.to, None, event.lane, None, None, None, event.at)


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
        *tried_columns(change.tried),
    )
