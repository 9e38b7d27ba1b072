"""The end of deliveries whose acceptance the broker never confirmed, and of which no sender was ever heard."""

from typing import TYPE_CHECKING

from mailwarren.contracts.events import Event, Kind
from mailwarren.contracts.ids import event_id
from mailwarren.contracts.lanes import Lane
from mailwarren.store.states import State
from mailwarren.tracker.adapters import deliveries, reports
from mailwarren.tracker.adapters.counters import add_steps
from mailwarren.tracker.adapters.events import add_stats
from mailwarren.tracker.adapters.webhook_outbox import WebhookOutbox
from mailwarren.tracker.domain.fold import Report
from mailwarren.tracker.domain.stats import count
from mailwarren.tracker.ports import Recorded

if TYPE_CHECKING:
    from asyncpg import Connection, Record

AT_ONCE = 500
"""Rows in one transaction."""
REASON = "the broker never confirmed the acceptance, and no sender had it in all the time that it could be sent"

# A sender's report that is being written has its row locked: that delivery is not overdue any more.
_OVERDUE = """
SELECT id, email_id, tenant, lane, address,
       extract(epoch FROM coalesce(accepted_at, updated_at))::float8
FROM deliveries
WHERE ended_at IS NULL AND lane = ANY($1::text[]) AND state = $2
  AND coalesce(accepted_at, updated_at) < to_timestamp($3::float8)
ORDER BY id LIMIT $4
FOR UPDATE SKIP LOCKED
"""


async def end_unconfirmed(
    connection: "Connection[Record]", before: float, now: float, webhooks: WebhookOutbox | None = None
) -> Recorded:
    """End up to :data:`AT_ONCE` deliveries that are unconfirmed since ``before``; both Unix seconds.

    They end ``failed``, by an event like any other, of which the ``webhooks`` are told: a sender that delivers one all
    the same still has the last word.

    Raises:
        Exception: one of :data:`mailwarren.store.engine.AWAY`; nothing is changed then.
    """
    recorded = Recorded()
    if webhooks is not None:
        await webhooks.refresh(connection)
    async with connection.transaction():
        rows = await connection.fetch(_OVERDUE, [lane.value for lane in Lane], State.UNCONFIRMED, before, AT_ONCE)
        if rows:
            stored = await deliveries.lock(connection, [row[0] for row in rows])
            await reports.write(connection, [_failure(row, now) for row in rows], stored, into=recorded)
            if webhooks is not None:
                await webhooks.write(connection, recorded)
            recorded.counts = count([], recorded.events)
            await add_stats(connection, recorded.counts)
            await add_steps(connection, recorded.steps)
    return recorded


def _failure(row: "Record", now: float) -> Report:
    ident, email, tenant, lane, address = row[:5]
    return Report(
        Event(
            id=event_id(ident, 0, Kind.FAILED),
            kind=Kind.FAILED,
            delivery=ident,
            email_id=email,
            tenant=tenant,
            lane=Lane(lane),
            to=address,
            at=now,
            reason=REASON,
            accepted_at=row[5],
        )
    )
