"""Opens and clicks in Postgres: a row of ``events`` for each, and what they add to their delivery's row.

They change no state: what became of a mail is decided before anybody reads it. A repeated message changes nothing.
"""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.tracking import COUNTED, Hit, HitKind
from mailwarren.store.states import State
from mailwarren.tracker.adapters.rows import Row, columns, copy, moment
from mailwarren.tracker.domain.counting import Told
from mailwarren.tracker.domain.hits import Reached, Seen, Tally, judge, tallies

if TYPE_CHECKING:
    from asyncpg import Connection, Record

# Inside of a transaction that has locked these rows.
_REACHED = """
SELECT id, tenant, address, lane, state, extract(epoch FROM ended_at)::float8, opened_at IS NOT NULL,
       clicked_at IS NOT NULL
FROM deliveries WHERE id = ANY($1::uuid[])
"""

# A message that comes again has the same times: no other day's partition is searched.
_RECORDED = """
SELECT id FROM events WHERE email_id = ANY($1::uuid[]) AND id = ANY($2::uuid[]) AND at BETWEEN $3 AND $4
"""

# Mail whose acceptance comes after its hits: hardly ever any, so all days are searched.
_EARLIER = """
SELECT delivery_id, kind, extract(epoch FROM at)::float8 FROM events
WHERE email_id IN (SELECT email_id FROM deliveries WHERE id = ANY($1::uuid[])) AND delivery_id = ANY($1::uuid[])
  AND kind = ANY($2::text[]) AND coalesce(flag, '') = ANY($3::text[])
"""

_EVENT = ("at", "id", "delivery_id", "email_id", "tenant", "kind", "attempt", "link", "agent", "flag", "ip")

_ADD = """
UPDATE deliveries d SET
  opens = d.opens + t.opens, clicks = d.clicks + t.clicks,
  opened_at = least(d.opened_at, to_timestamp(t.opened_at)),
  clicked_at = least(d.clicked_at, to_timestamp(t.clicked_at))
FROM unnest($1::uuid[], $2::int4[], $3::int4[], $4::float8[], $5::float8[])
  AS t (id, opens, clicks, opened_at, clicked_at)
WHERE d.id = t.id
"""


async def write_hits(connection: "Connection[Record]", hits: Sequence[Hit]) -> list[Seen]:
    """Record those that are new; they, with what was found of their deliveries.

    Args:
        connection: inside of a transaction that has locked the rows of the deliveries, and written what else the batch
            says of them.
        hits: of the batch.

    Raises:
        asyncpg.UniqueViolationError: somebody else has recorded one meanwhile.
    """
    if not hits:
        return []
    known = await _reached(connection, {hit.delivery for hit in hits})
    seen = judge(hits, known, await _recorded(connection, hits))
    await copy(connection, "events", _EVENT, [_event(one.hit) for one in seen])
    # In the order of their ids, as they were locked.
    if rows := [_addition(ident, tally) for ident, tally in sorted(tallies(seen).items())]:
        await connection.execute(_ADD, *columns(rows, 5))
    return seen


async def told_before(connection: "Connection[Record]", ids: Collection[UUID]) -> list[Told]:
    """Opens and clicks of these deliveries that have been recorded, and count."""
    if not ids:
        return []
    flags = [flag or "" for flag in COUNTED]
    found = await connection.fetch(_EARLIER, ids, list(HitKind), flags)
    return [Told(delivery, HitKind(kind), at) for delivery, kind, at in found]


async def _reached(connection: "Connection[Record]", ids: set[UUID]) -> dict[UUID, Reached]:
    return {
        ident: Reached(tenant, address, Lane(lane), State(state), ended_at, opened, clicked)
        for ident, tenant, address, lane, state, ended_at, opened, clicked in await connection.fetch(_REACHED, ids)
    }


async def _recorded(connection: "Connection[Record]", hits: Sequence[Hit]) -> set[UUID]:
    times = [hit.at for hit in hits]
    emails, ids = list({hit.email_id for hit in hits}), [hit.id for hit in hits]
    # A second more on both sides: a time is rounded on its way into its column.
    found = await connection.fetch(_RECORDED, emails, ids, moment(min(times) - 1), moment(max(times) + 1))
    return {row[0] for row in found}


def _event(hit: Hit) -> Row:
    return (
        moment(hit.at),
        hit.id,
        hit.delivery,
        hit.email_id,
        hit.tenant,
        hit.kind,
        0,
        hit.link,
        hit.agent or None,
        hit.flag,
        hit.ip,
    )


def _addition(ident: UUID, tally: Tally) -> Row:
    return ident, tally.opens, tally.clicks, tally.opened_at, tally.clicked_at
