"""All queues of the topology, looked at when somebody asks, by passive declares over a channel of its own.

Beside :mod:`.depths`, which reads every second only what admission needs.
"""

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import cast

import aio_pika
import aiormq
import structlog
from aiormq.channel import Channel as RawChannel

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.shards import SHARDS
from mailwarren.contracts.topology import Topology
from mailwarren.ingest.domain.queues import Look, QueueKind
from mailwarren.ingest.domain.refusal import unavailable
from mailwarren.runtime.amqp import Link, is_lost

log = structlog.get_logger()

TIMEOUT = 2.0
FRESH = 1.0
"""Seconds for which a look is good enough for the next who asks."""
RATE_OVER = 15.0
"""Seconds over which a rate is taken at most."""


@dataclass(frozen=True, slots=True)
class Place:
    """A queue of the topology; ``told`` is the name of a send queue in heartbeats, which leave out the prefix."""

    name: str
    kind: QueueKind
    lane: Lane | None = None
    shard: str | None = None
    told: str = ""


def places_of(topology: Topology) -> tuple[Place, ...]:
    """The queues that mail and orders go through; slots are no mail, and the control log is a stream."""
    plain = Topology()
    ladder = zip(topology.ladder.names, topology.ladder.milliseconds, strict=True)
    rungs = [(lane, name, ttl) for name, ttl in ladder for lane in Lane]
    return (
        *(
            Place(
                topology.send_queue(lane, shard).name, QueueKind.SEND, lane, shard, plain.send_queue(lane, shard).name
            )
            for lane in Lane
            for shard in SHARDS
        ),
        *(
            Place(topology.rung_queue(lane, name, ttl).name, QueueKind.LADDER, lane)
            for lane, name, ttl in sorted(rungs, key=lambda one: (list(Lane).index(one[0]), one[2]))
        ),
        *(Place(queue.name, QueueKind.TRACKER) for queue in topology.tracker_queues),
        Place(topology.dead_queue.name, QueueKind.ASIDE),
        Place(topology.unrouted_queue.name, QueueKind.ASIDE),
        Place(topology.ops_queue.name, QueueKind.OPS),
        *(Place(queue.name, QueueKind.LADDER) for queue in topology.ops_retry_queues),
        Place(topology.ops_dead_queue.name, QueueKind.ASIDE),
    )


class QueueLooks:
    """Looks at queues, one caller at a time; the others get what that one saw."""

    def __init__(self, link: Link, topology: Topology) -> None:
        self._link = link
        self.places = places_of(topology)
        self._send = {(place.lane, place.shard): place for place in self.places if place.kind is QueueKind.SEND}
        self._connection: aio_pika.abc.AbstractConnection | None = None
        self._channel: RawChannel | None = None
        self._turn = asyncio.Lock()
        self._looks: dict[str, Look] = {}
        self._at = 0.0
        self._seen: dict[str, deque[tuple[float, int]]] = {}
        link.on_up(self._renew)

    def send_place(self, lane: Lane, shard: str) -> Place:
        """The send queue of a lane and shard."""
        return self._send[lane, shard]

    async def _renew(self, connection: aio_pika.abc.AbstractConnection) -> None:
        self._connection, self._channel, self._at = connection, None, 0.0

    async def look(self) -> dict[str, Look]:
        """Every queue that answered, by its name.

        Raises:
            Refusal: 503, the broker cannot be asked.
        """
        async with self._turn:
            if not self._at or time.monotonic() - self._at > FRESH:
                try:
                    self._looks = await self._look_at_all()
                except Exception as error:
                    if not is_lost(error):
                        raise
                    await self._abandon()
                    log.debug("ingest.queues.unseen", error=f"{type(error).__name__}: {error}")
                    raise unavailable("The broker cannot be asked for its queues right now.") from error
                self._at = time.monotonic()
            return self._looks

    async def one(self, name: str) -> Look | None:
        """A queue alone, None when it did not answer; what is fresh is not asked again."""
        async with self._turn:
            if self._at and time.monotonic() - self._at <= FRESH:
                return self._looks[name] if name in self._looks else None  # noqa: SIM401 - get() would read a queue
            try:
                return await self._look_at(name)
            except Exception as error:
                if not is_lost(error):
                    raise
                await self._abandon()
                return None

    async def _look_at_all(self) -> dict[str, Look]:
        found: dict[str, Look] = {}
        for place in self.places:
            try:
                found[place.name] = await self._look_at(place.name)
            except TimeoutError:
                # A quorum queue without a leader, perhaps; the others answer all the same.
                await self._abandon()
        if not found:
            raise TimeoutError("no queue answered")
        return found

    async def _look_at(self, name: str) -> Look:
        channel = await self._open()
        try:
            answer = await channel.queue_declare(name, passive=True, timeout=TIMEOUT)
        except aiormq.exceptions.ChannelNotFoundEntity:
            # The broker closes a channel that asked for a queue which does not exist.
            self._channel = None
            return Look(None)
        except aiormq.exceptions.ChannelAccessRefused as error:
            # Nor does it answer for one that is not ours: it counts as silent, and the others answer.
            self._channel = None
            raise TimeoutError(str(error)) from error
        return self._compare(name, answer.message_count or 0, answer.consumer_count or 0)

    def _compare(self, name: str, messages: int, consumers: int) -> Look:
        now = time.monotonic()
        seen = self._seen.setdefault(name, deque(maxlen=64))
        while seen and now - seen[0][0] > RATE_OVER and len(seen) > 1 and now - seen[1][0] > RATE_OVER:
            seen.popleft()
        rate = None
        if seen and now - seen[-1][0] <= RATE_OVER:
            at, before = next(one for one in seen if now - one[0] <= RATE_OVER)
            rate = round((messages - before) / max(now - at, FRESH), 1)
        unchanged = 0.0
        for at, before in reversed(seen):
            if before != messages:
                break
            unchanged = now - at
        seen.append((now, messages))
        return Look(messages, consumers, rate, unchanged)

    async def _open(self) -> RawChannel:
        if self._channel is None or self._channel.is_closed:
            if self._connection is None or not self._link.up:
                raise ConnectionError("not connected")
            async with asyncio.timeout(TIMEOUT):
                channel = await self._connection.channel(publisher_confirms=False)
            self._channel = cast("RawChannel", await channel.get_underlay_channel())
        return self._channel

    async def _abandon(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            try:
                async with asyncio.timeout(TIMEOUT):
                    await channel.close()
            except Exception as error:
                if not is_lost(error):
                    raise
