"""Hits on their way to the tracker: queued first, answered then.

A hit is published before its request is answered, with those that come at the same time in one message. The answer does
not wait longer than :data:`WITHIN`: while the broker is away, hits are kept in memory, within bounds, and published
when it is back. Only those are lost when the process dies.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog

from mailwarren.contracts.tracking import Hit, Hits
from mailwarren.ingest.adapters.broker import Broker
from mailwarren.ingest.domain.hit_bounds import HitBounds
from mailwarren.ingest.domain.tracking_links import TrackingLinks
from mailwarren.ingest.metrics import record_hits_waiting
from mailwarren.runtime.amqp import PublishError

log = structlog.get_logger()

WITHIN = 0.04
"""Seconds that an answer waits for the broker."""
MOST = 50_000
"""Hits kept; beyond, the oldest are given up and counted. Some 30 MB."""
AT_ONCE = 200
"""Hits in one message."""
PAUSE = 1.0
"""Seconds until hits that the broker did not take are published again."""


@dataclass(slots=True)
class _Waiting:
    partition: int
    hit: Hit
    done: "asyncio.Future[None]"


class HitReports:
    """The hits that wait for the broker.

    Args:
        broker: where they go.
        most: how many are kept.
        within: seconds that :meth:`report` takes at most.
    """

    def __init__(self, broker: Broker, most: int = MOST, within: float = WITHIN) -> None:
        self._broker = broker
        self._most = most
        self._within = within
        self._waiting: dict[UUID, _Waiting] = {}
        self._news = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    async def report(self, partition: int, hit: Hit) -> None:
        """Return when the broker has the hit, or when there is no more time to wait for it."""
        done = asyncio.get_running_loop().create_future()
        self._waiting[hit.id] = _Waiting(partition, hit, done)
        if len(self._waiting) > self._most:
            oldest = next(iter(self._waiting))
            self._ended(oldest)
            record_hits_waiting(len(self._waiting), dropped=1)
        self._news.set()
        await asyncio.wait((done,), timeout=self._within)

    async def follow(self) -> None:
        """Publish what comes."""
        while True:
            await self._news.wait()
            self._news.clear()
            if not await self.publish():
                await asyncio.sleep(PAUSE)
                self._news.set()

    async def publish(self) -> bool:
        """Publish what waits; whether all of it was confirmed. What was not waits on."""
        by_partition: dict[int, list[Hit]] = defaultdict(list)
        for waiting in self._waiting.values():
            by_partition[waiting.partition].append(waiting.hit)
        batches = [
            (partition, hits[start : start + AT_ONCE])
            for partition, hits in by_partition.items()
            for start in range(0, len(hits), AT_ONCE)
        ]
        taken = all(await asyncio.gather(*(self._publish(*batch) for batch in batches)))
        if not taken:
            log.warning("ingest.hits.unreported", hits=len(self._waiting))
        record_hits_waiting(len(self._waiting))
        return taken

    async def _publish(self, partition: int, hits: Sequence[Hit]) -> bool:
        try:
            await self._broker.publish_hits(partition, Hits(tuple(hits)))
        except PublishError as error:
            log.debug("ingest.hits.not_taken", partition=partition, error=str(error))
            return False
        for hit in hits:
            self._ended(hit.id)
        return True

    def _ended(self, ident: UUID) -> None:
        waiting = self._waiting.pop(ident, None)
        if waiting is not None and not waiting.done.done():
            waiting.done.set_result(None)


@dataclass(frozen=True, slots=True)
class Tracked:
    """What answers hits."""

    links: TrackingLinks
    reports: HitReports
    bounds: HitBounds
    addresses: bool = False
    """Those of visitors are kept."""
