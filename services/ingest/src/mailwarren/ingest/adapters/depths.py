"""The depths of the queues, read every second by passive declares over a channel of its own.

``basic.get`` and the management API are slower or lag; a passive declare costs a round trip and is never refused.
"""

import asyncio
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

log = structlog.get_logger()

TIMEOUT = 2.0
ALARM_EVERY = 5.0


class Depths:
    """What admission needs to know of the broker."""

    def __init__(self, link: Link, topology: Topology, interval: float, management_url: str | None = None) -> None:
        self._link = link
        self._interval = interval
        self._management_url = management_url
        self._connection: aio_pika.abc.AbstractConnection | None = None
        self._channel: RawChannel | None = None
        self._alarm: str | None = None
        self._state = BrokerState()
        self._missing: set[str] = set()
        self._send = {(lane, shard): topology.send_queue(lane, shard).name for lane in Lane for shard in SHARDS}
        self._accepted = {lane: topology.accepted_queue(lane).name for lane in Lane}
        self._events = [topology.events_queue(partition).name for partition in range(PARTITIONS)]
        link.on_up(self._renew)

    async def _renew(self, connection: aio_pika.abc.AbstractConnection) -> None:
        self._connection, self._channel = connection, None

    @property
    def state(self) -> BrokerState:
        """The depths as last read, with the link as it is now."""
        return replace(self._state, up=self._link.up, blocked=self._link.blocked, alarm=self._alarm)

    async def follow(self) -> None:
        """Read for ever."""
        async with httpx.AsyncClient(timeout=TIMEOUT) as client:
            looked = -math.inf
            while True:
                try:
                    if self._link.up and not self._link.blocked:
                        await self.read()
                except Exception as error:  # noqa: BLE001 - without this loop nothing would ever be refused again
                    log.warning("ingest.depths.unread", error=f"{type(error).__name__}: {error}")
                    await self._abandon()
                if self._management_url and time.monotonic() - looked > ALARM_EVERY:
                    looked = time.monotonic()
                    await self._look_for_alarm(client, self._management_url)
                await asyncio.sleep(self._interval)

    async def _abandon(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            await asyncio.gather(channel.close(), return_exceptions=True)

    async def read(self) -> None:
        """Read all depths once.

        Raises:
            aiormq.exceptions.AMQPError, TimeoutError: the connection failed; the depths stay as they were.
        """
        depths: dict[str, float] = {}
        for name in (*self._send.values(), *self._accepted.values(), *self._events):
            depths[name] = await self._depth(name)
        missing = {name for name, depth in depths.items() if depth == math.inf}
        if missing - self._missing:
            log.error("ingest.depths.no_queue", queues=sorted(missing), hint=TOPOLOGY_HINT)
        self._missing = missing
        self._state = BrokerState(
            send={place: depths[name] for place, name in self._send.items()},
            accepted={lane: depths[name] for lane, name in self._accepted.items()},
            events=sum(depths[name] for name in self._events),
        )
        self._record(depths)

    async def _depth(self, name: str) -> float:
        channel = await self._open()
        try:
            answer = await channel.queue_declare(name, passive=True, timeout=TIMEOUT)
        except aiormq.exceptions.ChannelNotFoundEntity:
            # The broker closes a channel that asked for a queue which does not exist.
            self._channel = None
            return math.inf
        except TimeoutError:
            # A quorum queue without a leader does not answer, and would not take mail either. The others do.
            log.warning("ingest.depths.silent", queue=name)
            await self._abandon()
            return math.inf
        return answer.message_count or 0

    async def _open(self) -> RawChannel:
        if self._channel is None or self._channel.is_closed:
            if self._connection is None:
                raise ConnectionError("not connected")
            channel = await self._connection.channel(publisher_confirms=False)
            self._channel = cast("RawChannel", await channel.get_underlay_channel())
        return self._channel

    def _record(self, depths: dict[str, float]) -> None:
        lanes = dict.fromkeys((lane.value for lane in Lane), 0.0)
        for (lane, _), name in self._send.items():
            if depths[name] != math.inf:
                lanes[lane.value] += depths[name]
        others = [depths[name] for name in (*self._accepted.values(), *self._events)]
        record_depths(lanes, sum(depth for depth in others if depth != math.inf), len(self._missing))

    async def _look_for_alarm(self, client: httpx.AsyncClient, url: str) -> None:
        alarm = None
        try:
            answer = await client.get(f"{url.rstrip('/')}/api/nodes")
            answer.raise_for_status()
            alarm = next((found for node in answer.json() if (found := near_alarm(node))), None)
        except Exception as error:  # noqa: BLE001 - whatever a wrong URL or another server's answer may do
            # The alarm itself is still seen: the broker then blocks the link.
            log.warning("ingest.depths.no_management", error=type(error).__name__)
        if alarm != self._alarm:
            log.warning("ingest.depths.alarm", alarm=alarm)
        self._alarm = alarm
