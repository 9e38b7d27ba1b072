"""The breaker of each tenant: looks at the counters, and pauses the bulk mail of a tenant of which too much bounces.

The state is in ``breakers``; the pause itself is an override in the control log, as any suspension, so that senders,
the API and people know it from where they know all others. It ends when a person ends the override.
"""

from typing import TYPE_CHECKING, Protocol
from uuid import UUID

import structlog

from mailwarren.contracts.counters import QUARTER
from mailwarren.contracts.ids import override_id
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.shaping import BOUNCES, LONGEST_OVERRIDE, Override, Scope
from mailwarren.runtime.amqp import PublishError
from mailwarren.store.states import BreakerState
from mailwarren.tracker import metrics
from mailwarren.tracker.adapters.rows import moment
from mailwarren.tracker.domain.breaker import Counts, Marks, judge

if TYPE_CHECKING:
    from asyncpg import Connection, Record

log = structlog.get_logger()

LOCK = 0x6D77_6272_6561_6B65
"""Advisory lock key ("mwbreake"): one tracker at a time looks."""
TELL_AGAIN = LONGEST_OVERRIDE / 2
"""Seconds before its end at which a pause is told again, as long as it stands."""

_BOUNCED = "m.bounced_permanent + m.bounced_transient + m.bounced_undetermined"
_COUNTS = f"""
SELECT m.tenant, sum(m.delivered + {_BOUNCED})::int8 AS decided, sum({_BOUNCED})::int8 AS bounced,
  sum(m.complained)::int8 AS complained
FROM email_metrics m LEFT JOIN breakers b ON b.tenant = m.tenant
WHERE m.quarter > $1 AND (b.counted_from IS NULL OR m.quarter >= b.counted_from)
GROUP BY m.tenant HAVING sum(m.delivered + {_BOUNCED}) >= $2::int8
"""  # noqa: S608 - constants
_OPEN = """
SELECT b.tenant, b.state, extract(epoch FROM b.since)::float8 AS since, b.decided, b.bounced, b.complained, b.override,
  extract(epoch FROM b.told_until)::float8 AS told_until, o.ended_at, o.ended_by
FROM breakers b LEFT JOIN shaping_overrides o ON o.id = b.override
WHERE b.state <> 'fine' ORDER BY b.tenant
"""
_WRITE = """
INSERT INTO breakers AS b (tenant, state, since, decided, bounced, complained, override, told_until)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (tenant) DO UPDATE SET
  state = excluded.state, since = excluded.since, decided = excluded.decided, bounced = excluded.bounced,
  complained = excluded.complained, override = excluded.override, told_until = excluded.told_until
"""
_TOLD = "UPDATE breakers SET told_until = $2 WHERE tenant = $1"
_RESUMED = """
UPDATE breakers SET state = 'fine', since = $2, ended_at = $3, ended_by = $4, counted_from = $5, told_until = NULL
WHERE tenant = $1
"""
_STATES = "SELECT state, count(*) AS number FROM breakers WHERE state <> 'fine' GROUP BY state"


class Control(Protocol):
    """The control log."""

    async def write(self, override: Override) -> None:
        """Return when it is there.

        Raises:
            PublishError: it may not be.
        """


class Breakers:
    """Decides for all tenants.

    Args:
        control: where pauses are written.
        marks: when.
    """

    def __init__(self, control: Control, marks: Marks) -> None:
        self._control = control
        self._marks = marks

    async def look(self, connection: "Connection[Record]", now: float) -> None:
        """Look at all tenants, unless another tracker is looking; ``now`` in Unix seconds.

        A pause that the broker does not take stands in its row, and is told with the next look.
        """
        async with connection.transaction():
            if await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", LOCK):
                await self._look(connection, now)
        states = {row["state"]: row["number"] for row in await connection.fetch(_STATES)}
        metrics.record_breakers({state: states.get(state, 0) for state in BreakerState if state != BreakerState.FINE})

    async def _look(self, connection: "Connection[Record]", now: float) -> None:
        standing: dict[UUID, Record] = {}
        for row in await connection.fetch(_OPEN):
            if row["state"] == BreakerState.PAUSED and row["ended_at"] is not None:
                await self._resumed(connection, row, now)
            else:
                standing[row["tenant"]] = row
        since = moment(now - self._marks.window)
        rows = await connection.fetch(_COUNTS, since, self._marks.least)
        counted = {row["tenant"]: Counts(row["decided"], row["bounced"], row["complained"]) for row in rows}
        for tenant in sorted({*counted, *standing}):
            known = standing.get(tenant)
            state = BreakerState.FINE if known is None else BreakerState(known["state"])
            counts = counted.get(tenant, Counts())
            after = judge(state, counts, self._marks)
            if after is not state:
                await self._enter(connection, tenant, after, counts, now)
            elif known is not None and state is BreakerState.PAUSED:
                await self._remind(connection, known, now)

    async def _enter(
        self, connection: "Connection[Record]", tenant: UUID, state: BreakerState, counts: Counts, now: float
    ) -> None:
        ident, told_until = None, None
        if state is BreakerState.PAUSED:
            # Its row has the id also when nobody could be told: the next look tells the same.
            ident = override_id(Scope.TENANT, str(tenant), BOUNCES, int(now))
            told_until = await self._tell(tenant, ident, now, counts, now)
        await connection.execute(
            _WRITE, tenant, state, moment(now), *counts, ident, None if told_until is None else moment(told_until)
        )
        about = {"tenant": str(tenant), **counts._asdict(), "share": round(counts.share, 4)}
        if state is BreakerState.PAUSED:
            log.error("tracker.breaker.paused", override=str(ident), **about)
        elif state is BreakerState.WARNED:
            log.warning("tracker.breaker.warned", **about)
        else:
            log.info("tracker.breaker.fine", **about)
        metrics.record_breaker(state)

    async def _remind(self, connection: "Connection[Record]", row: "Record", now: float) -> None:
        if row["told_until"] is not None and row["told_until"] - now > TELL_AGAIN:
            return
        counts = Counts(row["decided"], row["bounced"], row["complained"])
        told_until = await self._tell(row["tenant"], row["override"], row["since"], counts, now)
        if told_until is not None:
            await connection.execute(_TOLD, row["tenant"], moment(told_until))

    async def _tell(self, tenant: UUID, ident: UUID, since: float, counts: Counts, now: float) -> float | None:
        """Until when all senders hold the tenant's bulk mail now; None when they could not be told."""
        until = now + LONGEST_OVERRIDE
        override = Override(
            # Of the driver's own class when it was read from its row.
            id=UUID(str(ident)),
            scope=Scope.TENANT,
            name=str(tenant),
            since=since,
            until=until,
            suspend=True,
            cause=BOUNCES,
            sample=str(counts),
            lane=Lane.BULK,
        )
        try:
            await self._control.write(override)
        except PublishError as error:
            log.warning("tracker.breaker.untold", tenant=str(tenant), error=f"{type(error).__name__}: {error}")
            return None
        return until

    async def _resumed(self, connection: "Connection[Record]", row: "Record", now: float) -> None:
        # What led to the pause counts no more, or the next look would pause it again.
        counted_from = moment((now // QUARTER + 1) * QUARTER)
        await connection.execute(_RESUMED, row["tenant"], moment(now), row["ended_at"], row["ended_by"], counted_from)
        log.info("tracker.breaker.resumed", tenant=str(row["tenant"]), by=row["ended_by"])
        metrics.record_breaker(BreakerState.FINE)
