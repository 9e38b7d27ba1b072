"""Outcomes to the tracker, confirmed, in group commits.

What waits for the broker's confirm here has been answered by a mail server and is not yet durable with us: it is what
a crash would send twice. So it is bounded: :meth:`OutcomeWriter.clear` holds new mail data back while more than
``MAX_EXPOSED`` outcomes wait or the oldest has waited ``MAX_AGE`` seconds.
"""

import asyncio
import contextlib
import time
from dataclasses import dataclass, field

import structlog

from mailwarren.contracts.codec import encode, headers_of
from mailwarren.contracts.events import Event, Outcomes
from mailwarren.contracts.routing import partition_key
from mailwarren.contracts.topology import Topology
from mailwarren.runtime.amqp import Publisher, PublishError
from mailwarren.sender import metrics

log = structlog.get_logger()

MAX_EXPOSED = 400
MAX_AGE = 2.0
BATCH = 200
"""Events in one message at most."""
GATHER = 0.005
"""Seconds that outcomes wait for company: a message of 20 costs the broker and the tracker little more than one."""
RETRY = 0.2


@dataclass(slots=True, eq=False)
class _Batch:
    """Events of one partition that travel together, and their confirm."""

    since: float
    confirmed: asyncio.Future[None]
    events: list[Event] = field(default_factory=list)


class OutcomeWriter:
    """Collects events for a moment, publishes each partition's in one message, repeats until confirmed.

    A partition has one message on its way at a time: what is reported meanwhile goes together as soon as that one is
    confirmed, so messages grow with the load.
    """

    def __init__(self, publisher: Publisher, topology: Topology) -> None:
        self._publisher = publisher
        self._exchange = topology.events.name
        self._fresh: dict[int, list[_Batch]] = {}
        self._publishing: dict[int, asyncio.Task[None]] = {}
        self._unconfirmed: dict[_Batch, None] = {}
        self._exposed = 0
        self._eased = asyncio.Event()
        self._eased.set()
        metrics.show_exposed(lambda: self._exposed)

    @property
    def exposed(self) -> int:
        """How many outcomes wait for a confirm."""
        return self._exposed

    def may_send(self) -> bool:
        """Whether more mail data may be written now."""
        if self._exposed >= MAX_EXPOSED:
            return False
        oldest = next(iter(self._unconfirmed), None)
        return oldest is None or time.monotonic() - oldest.since < MAX_AGE

    async def clear(self) -> None:
        """Return when more mail data may be written."""
        while not self.may_send():
            self._eased.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.25):
                    await self._eased.wait()

    async def report(self, partition: int, event: Event) -> None:
        """Return when the broker has confirmed ``event``; tries for ever, for the outcome cannot be made undone."""
        await asyncio.shield(self.post(partition, event))

    def post(self, partition: int, event: Event) -> asyncio.Future[None]:
        """The same without waiting: what is returned ends with the confirm, and others wait for it too (``shield``)."""
        loop = asyncio.get_running_loop()
        batches = self._fresh.setdefault(partition, [])
        if not batches or len(batches[-1].events) >= BATCH:
            batch = _Batch(time.monotonic(), loop.create_future())
            batches.append(batch)
            self._unconfirmed[batch] = None
            if len(batches) == 1 and partition not in self._publishing:
                loop.call_later(GATHER, self._flush, partition)
        batches[-1].events.append(event)
        self._exposed += 1
        return batches[-1].confirmed

    def _flush(self, partition: int) -> None:
        if partition in self._fresh and partition not in self._publishing:
            self._publishing[partition] = asyncio.get_running_loop().create_task(self._publish(partition))

    async def _publish(self, partition: int) -> None:
        # A task of everybody's outcomes: what is bound for the logs belongs to whoever was first.
        structlog.contextvars.clear_contextvars()
        try:
            while batches := self._fresh.pop(partition, None):
                await asyncio.gather(*(self._publish_batch(partition, batch) for batch in batches))
        finally:
            del self._publishing[partition]

    async def _publish_batch(self, partition: int, batch: _Batch) -> None:
        message = Outcomes(tuple(batch.events))
        body, headers = encode(message), headers_of(message)
        while True:
            try:
                await self._publisher.publish(self._exchange, partition_key(partition), body, headers)
                break
            except PublishError as error:
                # Event ids are deterministic, so a repeat of what did arrive changes nothing.
                log.warning("sender.outcomes.repeated", partition=partition, count=len(batch.events), error=str(error))
                await asyncio.sleep(RETRY)
        del self._unconfirmed[batch]
        self._exposed -= len(batch.events)
        self._eased.set()
        metrics.record_events(batch.events)
        batch.confirmed.set_result(None)
