"""Outcomes to the tracker, confirmed, in group commits.

What waits for the broker's confirm here has been answered by a mail server and is not yet durable with us: it is what
a crash would send twice. So it is bounded: :meth:`OutcomeWriter.clear` holds new mail data back while more than
``MAX_EXPOSED`` outcomes wait or the oldest has waited ``MAX_AGE`` seconds.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from dataclasses import dataclass

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


@dataclass(slots=True)
class _Waiting:
    event: Event
    since: float
    done: asyncio.Future[None]


class OutcomeWriter:
    """Collects events for a moment, publishes each partition's in one message, repeats until confirmed."""

    def __init__(self, publisher: Publisher, topology: Topology) -> None:
        self._publisher = publisher
        self._exchange = topology.events.name
        self._fresh: dict[int, list[_Waiting]] = defaultdict(list)
        self._exposed: dict[int, float] = {}
        self._serial = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._flush_due = False
        self._eased = asyncio.Event()
        self._eased.set()

    @property
    def exposed(self) -> int:
        """How many outcomes wait for a confirm."""
        return len(self._exposed)

    def may_send(self) -> bool:
        """Whether more mail data may be written now."""
        if len(self._exposed) >= MAX_EXPOSED:
            return False
        oldest = next(iter(self._exposed.values()), None)
        return oldest is None or time.monotonic() - oldest < MAX_AGE

    async def clear(self) -> None:
        """Return when more mail data may be written."""
        while not self.may_send():
            self._eased.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.25):
                    await self._eased.wait()

    async def report(self, partition: int, event: Event) -> None:
        """Return when the broker has confirmed ``event``; tries for ever, for the outcome cannot be made undone."""
        loop = asyncio.get_running_loop()
        self._serial += 1
        serial = self._serial
        waiting = _Waiting(event, time.monotonic(), loop.create_future())
        self._exposed[serial] = waiting.since
        self._fresh[partition].append(waiting)
        if not self._flush_due:
            self._flush_due = True
            loop.call_later(GATHER, self._flush)
        try:
            await waiting.done
        finally:
            self._exposed.pop(serial, None)
            self._eased.set()
            metrics.record_exposed(len(self._exposed))
        metrics.record_event(event)

    def _flush(self) -> None:
        self._flush_due = False
        fresh, self._fresh = self._fresh, defaultdict(list)
        for partition, waiting in fresh.items():
            for at in range(0, len(waiting), BATCH):
                task = asyncio.get_running_loop().create_task(self._publish(partition, waiting[at : at + BATCH]))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _publish(self, partition: int, waiting: list[_Waiting]) -> None:
        message = Outcomes(tuple(one.event for one in waiting))
        body, headers = encode(message), headers_of(message)
        while True:
            try:
                await self._publisher.publish(self._exchange, partition_key(partition), body, headers)
                break
            except PublishError as error:
                # Event ids are deterministic, so a repeat of what did arrive changes nothing.
                log.warning("sender.outcomes.repeated", partition=partition, count=len(waiting), error=str(error))
                await asyncio.sleep(RETRY)
        for one in waiting:
            if not one.done.done():
                one.done.set_result(None)
