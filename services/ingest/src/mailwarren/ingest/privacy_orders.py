"""The scheduler's source of privacy requests: gives those that nobody works on to the workers."""

import time

import structlog

from mailwarren.contracts.codec import encode_order, order_headers
from mailwarren.contracts.topology import OPS_KEY, Topology
from mailwarren.ingest.adapters.privacy_work import PrivacyWork
from mailwarren.ingest.ops import metrics
from mailwarren.runtime.amqp import Publisher

log = structlog.get_logger()

SHOW_EVERY = 15.0
"""Seconds between two looks at how it stands with them."""
AT_ONCE = 2
"""Requests that workers may have in hand, so that other orders find free workers too."""


class PrivacyOrders:
    """The source of orders for exports and erasures; any number of schedulers may have one each.

    Args:
        work: their table.
        publisher: to the broker.
        topology: its names.
    """

    def __init__(self, work: PrivacyWork, publisher: Publisher, topology: Topology) -> None:
        self._work = work
        self._publisher = publisher
        self._exchange = topology.ops_tasks.name
        self._look_at = 0.0

    async def release(self) -> bool:
        """See :class:`mailwarren.ingest.scheduler.Source`."""
        async with self._work.due(AT_ONCE) as due:
            for one in due:
                await self._publisher.publish(
                    self._exchange, OPS_KEY, encode_order(one.order), order_headers(one.order)
                )
        for one in due:
            metrics.record_released(one.order.work, one.late)
            log.info(
                "scheduler.released", work=one.order.work, order=str(one.order.id), request=str(one.order.subject),
                late=round(one.late, 3),
            )  # fmt: skip
        await self._show()
        # There is no more room: what is due now waits for one to end.
        return False

    async def _show(self) -> None:
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + SHOW_EVERY
        metrics.record_privacy(*await self._work.states())
