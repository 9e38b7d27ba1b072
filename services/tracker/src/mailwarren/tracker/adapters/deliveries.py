"""Deliveries: one row each, made by whichever comes first, its acceptance or an event."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from mailwarren.contracts.parcel import Delivery, Parcel
from mailwarren.store.states import State
from mailwarren.tracker.adapters.rows import Row, columns, copy, moment, tried_columns
from mailwarren.tracker.domain.counting import Facts, sender_domain
from mailwarren.tracker.domain.fold import Change
from mailwarren.tracker.domain.status import UNHEARD, Status

if TYPE_CHECKING:
    from asyncpg import Connection, Record

Accepted = Mapping[UUID, tuple[Parcel, Delivery]]
"""Acceptances by delivery."""

_READ = """
SELECT id, state, attempt, started, parked, extract(epoch FROM ended_at)::float8, tenant, sender_domain, broadcast,
       extract(epoch FROM accepted_at)::float8, bounce_class, extract(epoch FROM deferred_at)::float8,
       extract(epoch FROM opened_at)::float8, extract(epoch FROM clicked_at)::float8
FROM deliveries WHERE id = ANY($1::uuid[])
"""

# In the order of their ids: two trackers never wait for each other in a circle.
_LOCK = f"{_READ} ORDER BY id FOR NO KEY UPDATE"

_NEW = (
    "id", "email_id", "tenant", "address", "role", "lane", "shard", "partition", "accepted_at", "state", "attempt",
    "started", "parked", "ended_at", "next_attempt_at", "reply_code", "reply_enhanced", "reply_text", "reply_command",
    "trouble", "bounce_class", "site", "host", "tls", "tls_policy", "egress", "updated_at", "broadcast",
    "sender_domain", "deferred_at",
)  # fmt: skip

_UNTOUCHED: Row = (UNHEARD.state, 0, 0, 0, None, None, *tried_columns(None))

_FILL_IN = """
UPDATE deliveries d SET
  accepted_at = to_timestamp(t.accepted_at), role = t.role, shard = t.shard, partition = t.partition,
  broadcast = t.broadcast, sender_domain = t.sender_domain
FROM unnest($1::uuid[], $2::float8[], $3::text[], $4::text[], $5::int2[], $6::uuid[], $7::text[])
  AS t (id, accepted_at, role, shard, partition, broadcast, sender_domain)
WHERE d.id = t.id
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
  host = CASE WHEN t.tried THEN t.host ELSE d.host END,
  tls = CASE WHEN t.tried THEN t.tls ELSE d.tls END,
  tls_policy = CASE WHEN t.tried THEN t.tls_policy ELSE d.tls_policy END,
  egress = CASE WHEN t.tried THEN t.egress ELSE d.egress END,
  deferred_at = coalesce(d.deferred_at, to_timestamp(t.deferred_at))
FROM unnest($1::uuid[], $2::text[], $3::int4[], $4::int4[], $5::int4[], $6::float8[], $7::float8[], $8::bool[],
            $9::float8[], $10::bool[], $11::int2[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[],
            $17::text[], $18::text[], $19::text[], $20::text[], $21::text[], $22::float8[])
  AS t (id, state, attempt, started, parked, at, ended_at, decided, next_at, tried, reply_code, reply_enhanced,
        reply_text, reply_command, trouble, bounce_class, site, host, tls, tls_policy, egress, deferred_at)
WHERE d.id = t.id
"""


_STATES = {state.value: state for state in State}


@dataclass(slots=True)
class Stored:
    """What is known of those deliveries that have a row, and which of them were made before their acceptance."""

    known: dict[UUID, Status] = field(default_factory=dict)
    unaccepted: set[UUID] = field(default_factory=set)
    facts: dict[UUID, Facts] = field(default_factory=dict)
    """What of those rows is counted."""
    met: set[UUID] = field(default_factory=set)
    """Those whose acceptance is written after their first open or click."""


def accepted_by(parcels: Iterable[Parcel]) -> Accepted:
    """The acceptances in parcels."""
    return {delivery.id: (parcel, delivery) for parcel in parcels for delivery in parcel.deliveries}


async def lock(connection: "Connection[Record]", ids: Collection[UUID]) -> Stored:
    """Read the rows of those deliveries that have one, and lock them until the transaction ends."""
    return _stored(await connection.fetch(_LOCK, ids))


async def read(connection: "Connection[Record]", ids: Collection[UUID]) -> dict[UUID, Status]:
    """The status of those deliveries that have a row."""
    return _stored(await connection.fetch(_READ, ids)).known


async def insert(
    connection: "Connection[Record]", accepted: Accepted, changes: Mapping[UUID, Change], known: Mapping[UUID, Status]
) -> list[UUID]:
    """Insert the deliveries that are not ``known`` as they are after their changes; their ids.

    Raises:
        asyncpg.UniqueViolationError: somebody else has inserted one since it was looked for.
    """
    rows = [_accepted(*one, changes.get(ident)) for ident, one in accepted.items() if ident not in known]
    rows += [_heard_of(change) for ident, change in changes.items() if ident not in known and ident not in accepted]
    # As with locks; and neighbours in the table's main index come one after another.
    rows.sort(key=_order)
    await copy(connection, "deliveries", _NEW, rows)
    return [row[0] for row in rows]


async def fill_in(connection: "Connection[Record]", accepted: Accepted) -> None:
    """Write the acceptances of rows that an event has made before."""
    rows = [
        (
            ident,
            parcel.accepted_at,
            delivery.role,
            parcel.shard,
            parcel.partition,
            parcel.broadcast,
            sender_domain(parcel.content.sender),
        )
        for ident, (parcel, delivery) in accepted.items()
    ]
    if rows:
        await connection.execute(_FILL_IN, *columns(rows, 7))


async def write_changes(
    connection: "Connection[Record]", changes: Mapping[UUID, Change], known: Mapping[UUID, Status]
) -> None:
    """Update the rows of deliveries whose status is another than the ``known`` one."""
    rows = [
        _change(ident, change) for ident, change in changes.items() if ident in known and change.status != known[ident]
    ]
    if rows:
        await connection.execute(_CHANGES, *columns(rows, 22))


def _stored(rows: "Iterable[Record]") -> Stored:
    stored = Stored()
    for row in rows:
        ident, word, attempt, started, parked, ended_at, tenant, domain, broadcast, accepted_at, *times = row
        state = _STATES[word]
        stored.known[ident] = Status(state, attempt, started, parked, ended_at)
        stored.facts[ident] = Facts(tenant, domain, broadcast, state, accepted_at, ended_at, *times)
        if accepted_at is None:
            stored.unaccepted.add(ident)
    return stored


def _accepted(parcel: Parcel, delivery: Delivery, change: Change | None) -> Row:
    accepted_at = moment(parcel.accepted_at)
    return (
        delivery.id,
        delivery.email_id,
        parcel.tenant,
        delivery.to,
        delivery.role,
        parcel.lane,
        parcel.shard,
        parcel.partition,
        accepted_at,
        *(_UNTOUCHED if change is None else _changed(change)),
        accepted_at if change is None else moment(max(change.at, parcel.accepted_at)),
        parcel.broadcast,
        sender_domain(parcel.content.sender),
        _deferred_at(change),
    )


def _heard_of(change: Change) -> Row:
    event = change.first.event
    return (
        event.delivery,
        event.email_id,
        event.tenant,
        event.to,
        None,
        event.lane,
        None,
        None,
        None,
        *_changed(change),
        moment(change.at),
        None,
        None,
        _deferred_at(change),
    )


def _changed(change: Change) -> Row:
    status, next_at = change.status, _next_at(change)
    return (
        status.state,
        status.attempt,
        status.started,
        status.parked,
        None if status.ended_at is None else moment(status.ended_at),
        None if next_at is None else moment(next_at),
        *tried_columns(change.tried),
    )


def _order(row: Row) -> int:
    ident: UUID = row[0]
    return ident.int


def _change(ident: UUID, change: Change) -> Row:
    status = change.status
    return (
        ident,
        status.state,
        status.attempt,
        status.started,
        status.parked,
        change.at,
        status.ended_at,
        change.decided is not None,
        _next_at(change),
        change.tried is not None,
        *tried_columns(change.tried),
        change.deferred_at,
    )


def _deferred_at(change: Change | None) -> datetime | None:
    return None if change is None or change.deferred_at is None else moment(change.deferred_at)


def _next_at(change: Change) -> float | None:
    return change.decided.next_attempt_at if change.decided and change.status.state is State.DEFERRED else None
