"""Beside the consumer: gauges, partitions ahead of time, what is past its use, and what nobody else will end."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from mailwarren.contracts.lanes import BUDGETS, Lane
from mailwarren.store.engine import AWAY, database_trouble, driver_connect
from mailwarren.store.states import State
from mailwarren.tracker import metrics
from mailwarren.tracker.adapters.breakers import Breakers
from mailwarren.tracker.adapters.overrides import FORGET
from mailwarren.tracker.adapters.partitions import Partitions
from mailwarren.tracker.adapters.tls import FORGET as FORGET_TLS
from mailwarren.tracker.adapters.unconfirmed import AT_ONCE, end_unconfirmed
from mailwarren.tracker.adapters.webhook_outbox import WebhookOutbox
from mailwarren.tracker.adapters.webhook_upkeep import look as look_at_webhooks

if TYPE_CHECKING:
    from asyncpg import Connection, Record

    Step = Callable[["Connection[Record]", float], Awaitable[None]]

log = structlog.get_logger()

LOOK_EVERY = 15.0
TIDY_EVERY = 3600.0
TIDY_AGAIN = 600.0
"""After a failure: everybody's inserts wait behind a lock that is asked for, so it is not asked for often."""
CLAIMS_FOR = "3 days"
"""No mail lives longer than 48 h, so a claim or an early cancel of that age belongs to none."""
UNCONFIRMED_FOR = 48 * 3600.0
"""The longest budget of a sender (DESIGN §1): one that finds the mail later than that does not send it any more."""

OVERDUE_AFTER = 600.0
"""A sender ends a delivery when its budget ends; what comes this much later is not on its way any more."""

_OPEN = """
SELECT lane, state, count(*), extract(epoch FROM now() - min(coalesce(accepted_at, updated_at)))::float8,
  count(*) FILTER (WHERE coalesce(accepted_at, updated_at) < now() - b.seconds * interval '1 second')
FROM deliveries JOIN unnest($1::text[], $2::float8[]) AS b (lane, seconds) USING (lane)
WHERE ended_at IS NULL GROUP BY lane, state
"""
_ON_THEIR_WAY = frozenset({State.ACCEPTED, State.DEFERRED})
"""States that a sender ends in time: what is parked waits for a person, what is unconfirmed ends after 48 h."""


class Upkeep:
    """Periodic work over connections of its own.

    Args:
        engine: where from.
        partitions: of the events.
        unconfirmed_for: seconds after which an unconfirmed delivery ends.
        budgets: seconds by lane after which no sender tries a delivery any more.
        breakers: of the tenants; None to leave them alone.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        partitions: Partitions,
        unconfirmed_for: float = UNCONFIRMED_FOR,
        budgets: Mapping[Lane, float] = BUDGETS,
        breakers: Breakers | None = None,
    ) -> None:
        self._engine = engine
        self._budgets = budgets
        self._partitions = partitions
        self._unconfirmed_for = unconfirmed_for
        self._webhooks = WebhookOutbox()
        self._steps: dict[str, tuple[Step, float]] = {
            "unconfirmed": (self._end_unconfirmed, LOOK_EVERY),
            "webhooks": (_look_at_webhooks, LOOK_EVERY),
            "partitions_ahead": (self._make_partitions, TIDY_EVERY),
            "partitions_old": (partitions.drop_old, TIDY_EVERY),
            "claims": (_forget_claims, TIDY_EVERY),
            "overrides": (self._forget_overrides, TIDY_EVERY),
            "tls_results": (self._forget_tls, TIDY_EVERY),
        }
        if breakers is not None:
            self._steps["breakers"] = (breakers.look, LOOK_EVERY)
        self._due = dict.fromkeys(self._steps, 0.0)
        self.trouble: str | None = None
        """Why the database did not answer the last time; None when it did."""

    async def run(self, stop: asyncio.Event) -> None:
        """Look and tidy until ``stop`` is set. A database that is away is not looked at, and that is all."""
        while not stop.is_set():
            try:
                await self.turn(time.time())
            except AWAY as error:
                self.trouble = database_trouble(error)
                log.warning("tracker.upkeep.failed", error=self.trouble)
            try:
                async with asyncio.timeout(LOOK_EVERY):
                    await stop.wait()
            except TimeoutError:
                continue

    async def turn(self, now: float) -> None:
        """Set the gauges, and then tidy what it is time for; what cannot be tidied now is tidied later.

        Raises:
            Exception: one of :data:`mailwarren.store.engine.AWAY`, from the look.
        """
        async with driver_connect(self._engine) as connection:
            await _look(connection, self._budgets)
        self.trouble = None
        for name, (step, every) in self._steps.items():
            if now < self._due[name]:
                continue
            try:
                async with driver_connect(self._engine) as connection:
                    await step(connection, now)
            except Exception as error:  # noqa: BLE001 - nothing of this is worth that the ledger stands still
                self._due[name] = now + TIDY_AGAIN
                log.warning("tracker.upkeep.not_tidied", what=name, error=f"{type(error).__name__}: {error}")
            else:
                self._due[name] = now + every

    async def _make_partitions(self, connection: "Connection[Record]", now: float) -> None:
        await self._partitions.make(connection, self._partitions.ahead(now), now)

    async def _forget_overrides(self, connection: "Connection[Record]", now: float) -> None:  # noqa: ARG002 - a step
        await connection.execute(FORGET, self._partitions.retention_days)

    async def _forget_tls(self, connection: "Connection[Record]", now: float) -> None:  # noqa: ARG002 - a step
        await connection.execute(FORGET_TLS, self._partitions.retention_days)

    async def _end_unconfirmed(self, connection: "Connection[Record]", now: float) -> None:
        while True:
            recorded = await end_unconfirmed(connection, now - self._unconfirmed_for, now, self._webhooks)
            if not recorded.events:
                return
            metrics.record_batch(recorded)
            log.warning("tracker.unconfirmed.ended", deliveries=len(recorded.events))
            if len(recorded.events) < AT_ONCE:
                return


async def _look_at_webhooks(connection: "Connection[Record]", now: float) -> None:  # noqa: ARG001 - as all steps
    # Here and not in the process that tells them: its absence is what one wants to see.
    seen = await look_at_webhooks(connection)
    metrics.record_webhooks(seen.endpoints, seen.waiting, seen.late)


async def _forget_claims(connection: "Connection[Record]", now: float) -> None:  # noqa: ARG001 - as all steps
    for table in ("claims", "cancels"):
        await connection.execute(f"DELETE FROM {table} WHERE at < now() - interval '{CLAIMS_FOR}'")  # noqa: S608


async def _look(connection: "Connection[Record]", budgets: Mapping[Lane, float]) -> None:
    counts: dict[tuple[str, str], int] = {}
    oldest: dict[str, float] = {}
    overdue: dict[str, int] = {}
    limits = [seconds + OVERDUE_AFTER for seconds in budgets.values()]
    for lane, state, number, age, late in await connection.fetch(_OPEN, [*budgets], limits):
        counts[lane, state] = number
        if state in _ON_THEIR_WAY:
            overdue[lane] = overdue.get(lane, 0) + late
        if state != State.UNCONFIRMED:
            oldest[lane] = max(oldest.get(lane, 0.0), age)
    metrics.record_open(counts, oldest, overdue)
