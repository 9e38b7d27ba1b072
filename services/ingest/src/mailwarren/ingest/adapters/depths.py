"""The depths of the queues, read every second by passive declares over a channel of its own.

``basic.get`` and the management API are slower or lag; a passive declare costs a round trip and is never refused.

A depth that was not read for a while is unknown: its queue does not answer, or nothing does. An unknown depth refuses
nothing, because what cannot be declared cannot confirm a publish either, and then the caller gets its 503 from that.
``mailwarren_ingest_unknown_depths`` counts them.
"""

import asyncio
import contextlib
import math
import time
from dataclasses import replace
from typing import cast

import aio_pika
import aiormq
import httpx
import structlog
from aiormq.channel import Channel as RawChannel

from mailwarren.contracts.ids import PARTITIONS
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.shards import SHARDS
from mailwarren.contracts.topology import Topology
from mailwarren.ingest.adapters.broker import TOPOLOGY_HINT
from mailwarren.ingest.domain.admission import BrokerState, near_alarm
from mailwarren.ingest.metrics import record_depths
from mailwarren.runtime.amqp import Link
from mailwarren.runtime.reasons import SETUP_HINT

log = structlog.get_logger()

TIMEOUT = 2.0
ALARM_EVERY = 5.0
FIRST_INTERVAL = 1.0
"""Seconds between two looks until every queue was seen once."""
KEPT = 15
"""Intervals for which a depth is good."""
SILENT = 3
"""Queues without an answer that end a round: each costs :data:`TIMEOUT`, and the others must have their turn."""
SILENT_PAUSE = 10.0
"""Seconds until such a queue is asked again."""

_NOTHING = BrokerState()


class Depths:
    """What admission needs to know of the broker."""

    def __init__(self, link: Link, topology: Topology, interval: float, management_url: str | None = None) -> None:
        self._link = link
        self._interval = interval
        self._management_url = management_url
        self._connection: aio_pika.abc.AbstractConnection | None = None
        self._channel: RawChannel | None = None
        self._alarm: str | None = None
        self._state = _NOTHING
        self._good_until = math.inf
        self._read: dict[str, tuple[float, float]] = {}
        self._ask_again: dict[str, float] = {}
        self._missing: set[str] = set()
        self._complete = False
        self.seen = asyncio.Event()
        """Set once every queue was seen."""
        self._unknown: set[str] = set()
        self._troubles: dict[str, str] = {}
        self._send = {(lane, shard): topology.send_queue(lane, shard).name for lane in Lane for shard in SHARDS}
        self._accepted = {lane: topology.accepted_queue(lane).name for lane in Lane}
        self._events = [topology.events_queue(partition).name for partition in range(PARTITIONS)]
        self._names = (*self._send.values(), *self._accepted.values(), *self._events)
        link.on_up(self._renew)

    async def _renew(self, connection: aio_pika.abc.AbstractConnection) -> None:
        self._connection, self._channel = connection, None
        self._ask_again.clear()

    @property
    def state(self) -> BrokerState:
        """The depths as last read, with the link as it is now."""
        state = self._state if time.monotonic() < self._good_until else _NOTHING
        up, blocked, alarm = self._link.up, self._link.blocked, self._alarm
        if (state.up, state.blocked, state.alarm) == (up, blocked, alarm):
            return state
        return replace(state, up=up, blocked=blocked, alarm=alarm)

    @property
    def topology_trouble(self) -> str | None:
        """Why the topology is not known to be complete; None once every queue was seen."""
        if self._complete:
            return None
        if self._missing:
            return f"{len(self._missing)} queues are missing, such as {min(self._missing)}; {SETUP_HINT}"
        return "not all queues have been seen yet"

    async def follow(self) -> None:
        """Read for ever, whatever happens: without this loop nothing would ever be refused again."""
        async with httpx.AsyncClient(timeout=TIMEOUT) as client:
            looked = -math.inf
            while True:
                if self._link.up and not self._link.blocked:
                    await self._look()
                self._take_stock()
                if self._management_url and time.monotonic() - looked > ALARM_EVERY:
                    looked = time.monotonic()
                    await self._look_for_alarm(client, self._management_url)
                # A start waits for the first look at all queues, however rare the later ones are.
                await asyncio.sleep(self._interval if self._complete else min(self._interval, FIRST_INTERVAL))

    async def _look(self) -> None:
        try:
            await self.read()
        except Exception as error:  # noqa: BLE001 - see follow
            self._note("queues", f"{type(error).__name__}: {error}")
            await self._abandon()
        else:
            self._note("queues", None)

    def _note(self, of: str, trouble: str | None) -> None:
        """Log a trouble when it is new, and its end; not every second."""
        if trouble is None:
            if self._troubles.pop(of, None) is not None:
                log.info("ingest.depths.trouble_over", of=of)
        elif self._troubles.get(of) != trouble:
            self._troubles[of] = trouble
            log.warning("ingest.depths.trouble", of=of, error=trouble)

    async def _abandon(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(TIMEOUT):
                    await channel.close()

    async def read(self) -> None:
        """Read all depths once, but for those of queues that did not answer lately.

        Raises:
            aiormq.exceptions.AMQPError, TimeoutError: the connection failed; what was read before is kept.
        """
        silent = 0
        for name in sorted(self._names, key=self._turn):
            if self._ask_again.get(name, 0) > time.monotonic():
                continue
            try:
                self._read[name] = await self._depth(name), time.monotonic()
                self._ask_again.pop(name, None)
            except TimeoutError:
                # A quorum queue without a leader, perhaps; the others answer all the same.
                self._ask_again[name] = time.monotonic() + SILENT_PAUSE
                await self._abandon()
                silent += 1
                if silent == SILENT:
                    raise

    def _turn(self, name: str) -> tuple[bool, float]:
        # Those that said nothing come last, so that they never take the others' time; else the oldest first.
        return name in self._ask_again, self._read[name][1] if name in self._read else 0.0

    def _take_stock(self) -> None:
        """Make the state of what was read and is not too old."""
        oldest = time.monotonic() - KEPT * self._interval
        depths = {name: depth for name, (depth, at) in self._read.items() if at >= oldest}
        missing = {name for name, depth in depths.items() if depth == math.inf}
        if missing - self._missing:
            log.error("ingest.depths.no_queue", queues=sorted(missing), hint=TOPOLOGY_HINT)
        # Before the first round nothing is known, which is no news.
        unknown = {name for name in self._names if name not in depths} if self._read else set()
        if unknown != self._unknown:
            log.warning("ingest.depths.unknown", queues=sorted(unknown)[:10], count=len(unknown))
        self._missing, self._unknown = missing, unknown
        self._complete = self._complete or (len(depths) == len(self._names) and not missing)
        # Also when a look hangs, and this is not done again for long.
        self._good_until = time.monotonic() + KEPT * self._interval
        self._state = BrokerState(
            send={place: depths[name] for place, name in self._send.items() if name in depths},
            accepted={lane: depths[name] for lane, name in self._accepted.items() if name in depths},
            events=sum(depths[name] for name in self._events if name in depths),
        )
        if self._complete:
            self.seen.set()
        self._record(depths)

    async def _depth(self, name: str) -> float:
        channel = await self._open()
        try:
            answer = await channel.queue_declare(name, passive=True, timeout=TIMEOUT)
        except aiormq.exceptions.ChannelNotFoundEntity:
            # The broker closes a channel that asked for a queue which does not exist.
            self._channel = None
            return math.inf
        return answer.message_count or 0

    async def _open(self) -> RawChannel:
        if self._channel is None or self._channel.is_closed:
            if self._connection is None:
                raise ConnectionError("not connected")
            async with asyncio.timeout(TIMEOUT):
                channel = await self._connection.channel(publisher_confirms=False)
            self._channel = cast("RawChannel", await channel.get_underlay_channel())
        return self._channel

    def _record(self, depths: dict[str, float]) -> None:
        lanes = dict.fromkeys((lane.value for lane in Lane), 0.0)
        for (lane, _), name in self._send.items():
            lanes[lane.value] += _finite(depths.get(name, 0))
        tracker = sum(_finite(depths.get(name, 0)) for name in (*self._accepted.values(), *self._events))
        record_depths(lanes, tracker, len(self._missing), len(self._names) - len(depths))

    async def _look_for_alarm(self, client: httpx.AsyncClient, url: str) -> None:
        alarm = None
        try:
            answer = await client.get(f"{url.rstrip('/')}/api/nodes")
            answer.raise_for_status()
            alarm = next((found for node in answer.json() if (found := near_alarm(node))), None)
        except Exception as error:  # noqa: BLE001 - whatever a wrong URL or another server's answer may do
            # The alarm itself is still seen: the broker then blocks the link. The error's text may hold the password.
            self._note("management", type(error).__name__)
        else:
            self._note("management", None)
        if alarm != self._alarm:
            log.warning("ingest.depths.alarm", alarm=alarm)
        self._alarm = alarm


def _finite(depth: float) -> float:
    return 0 if depth == math.inf else depth
