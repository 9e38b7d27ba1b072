"""The scheduler's source of broadcasts: those that are due, or that no worker goes on with, are given to a worker.

Also tells the senders of cancels that the API could not tell them.
"""

import time
from datetime import timedelta

import structlog

from mailwarren.ingest.adapters.broker import Broker
from mailwarren.ingest.adapters.expansions import AT_ONCE, Expansions
from mailwarren.ingest.ops import metrics

log = structlog.get_logger()

SHOW_EVERY = 5.0
"""Seconds between two looks at how it stands with all of them."""


class BroadcastOrders:
    """Any number of schedulers may have one each.

    Args:
        expansions: their table.
        broker: where orders and cancels go.
        overdue: how long after its time a broadcast is not sent any more without a person.
    """

    def __init__(self, expansions: Expansions, broker: Broker, overdue: timedelta) -> None:
        self._expansions = expansions
        self._broker = broker
        self._overdue = overdue
        self._look_at = 0.0

    async def release(self) -> bool:
        """See :class:`mailwarren.ingest.scheduler.Source`."""
        await self._show()
        for ident in await self._expansions.hold(self._overdue):
            log.warning("scheduler.broadcast.held", broadcast=str(ident))
        for ident, tenant in await self._expansions.untold():
            await self._broker.publish_broadcast_cancel(ident, tenant)
            await self._expansions.told(ident)
            log.info("scheduler.broadcast.cancel_told", broadcast=str(ident))
        async with self._expansions.due() as due:
            for one in due:
                await self._broker.publish_order(one.order)
        for one in due:
            metrics.record_released(one.order.work, one.late)
            log.info("scheduler.released", work=one.order.work, order=str(one.order.id), late=round(one.late, 3))
        return len(due) == AT_ONCE

    async def _show(self) -> None:
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + SHOW_EVERY
        states, waited = await self._expansions.states()
        metrics.record_broadcasts(states, waited)
