"""What is in the broker's queues, asked of the broker itself.

A passive declare is exact about what is ready, but does not see what a consumer holds unacked; the management API sees
that, up to five seconds late. Where there is one, both are asked, so a queue counts as empty when both say so.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from typing import cast
from urllib.parse import quote

import aio_pika
import aiormq
import httpx
from aiormq.channel import Channel as RawChannel

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.shards import SHARDS
from mailwarren.contracts.topology import Topology
from mailwarren.devstack.demo.ledger import Depths
from mailwarren.devstack.demo.targets import Targets
from mailwarren.devstack.errors import DevstackError

_TIMEOUT = 10.0
_UNREACHABLE = (aiormq.exceptions.AMQPError, OSError, TimeoutError, RuntimeError)


def queue_names(topology: Topology) -> dict[str, Lane | None]:
    """Every queue that mail waits in, with the lane that it belongs to."""
    names: dict[str, Lane | None] = {}
    for lane in Lane:
        rungs = zip(topology.ladder.names, topology.ladder.milliseconds, strict=True)
        queues = [
            *(topology.send_queue(lane, shard) for shard in SHARDS),
            *(topology.rung_queue(lane, rung, ttl) for rung, ttl in rungs),
            topology.accepted_queue(lane),
        ]
        names |= {queue.name: lane for queue in queues}
    return names | {queue.name: None for queue in topology.tracker_queues if queue.name not in names}


class Queues:
    """The queues of one system.

    ``parked`` counts from the moment of :meth:`check`: what earlier runs left in ``mail.dead`` is not this one's.
    """

    def __init__(self, targets: Targets) -> None:
        topology = targets.topology
        self._targets = targets
        self._names = queue_names(topology)
        self._parking = (topology.dead_queue.name, topology.unrouted_queue.name)
        self._parked_before = 0

    async def check(self) -> None:
        """Return when the queues can be asked for.

        Raises:
            DevstackError: the broker cannot be reached, or a queue does not exist.
        """
        try:
            self._parked_before = sum((await self._ready(self._parking)).values())
            await self._ready(self._names)
        except _UNREACHABLE as error:
            raise DevstackError(f"RabbitMQ (MAILWARREN_AMQP_URL) cannot be asked for its queues: {error}") from error

    async def depths(self) -> Depths:
        """Messages in the queues now, ready and unacked.

        Raises:
            DevstackError: the broker cannot be asked.
        """
        try:
            counts = await self._ready([*self._names, *self._parking])
        except _UNREACHABLE as error:
            raise DevstackError(f"RabbitMQ (MAILWARREN_AMQP_URL) cannot be asked for its queues: {error}") from error
        counts.update(await self._unacked())
        lanes = dict.fromkeys(Lane, 0)
        shared = 0
        for name, lane in self._names.items():
            if lane is None:
                shared += counts[name]
            else:
                lanes[lane] += counts[name]
        parked = sum(counts[name] for name in self._parking) - self._parked_before
        return Depths(lanes, shared, max(0, parked))

    async def quiet(self, patience: float) -> Depths:
        """The depths once they are zero, or after ``patience`` seconds whatever they are."""
        deadline = time.monotonic() + patience
        while True:
            depths = await self.depths()
            if not depths.total or time.monotonic() > deadline:
                return depths
            await asyncio.sleep(0.5)

    async def _ready(self, names: Iterable[str]) -> Counter[str]:
        connection = await aio_pika.connect(
            self._targets.amqp_url, timeout=_TIMEOUT, client_properties={"connection_name": "mailwarren-demo"}
        )
        async with connection:
            channel = cast("RawChannel", await (await connection.channel()).get_underlay_channel())
            counts: Counter[str] = Counter()
            for name in names:
                answer = await channel.queue_declare(name, passive=True, timeout=_TIMEOUT)
                counts[name] = answer.message_count or 0
        return counts

    async def _unacked(self) -> Counter[str]:
        if (management := self._targets.management) is None:
            return Counter()
        url, credentials = management
        path = f"/api/queues/{quote(self._targets.vhost, safe='')}"
        columns = {"columns": "name,messages_unacknowledged"}
        async with httpx.AsyncClient(auth=credentials, timeout=_TIMEOUT) as client:
            try:
                answer = await client.get(url + path, params=columns)
                answer.raise_for_status()
                rows = answer.json()
            except (httpx.HTTPError, ValueError) as error:
                raise DevstackError(f"RabbitMQ's management API at {url} cannot be asked: {error}") from error
        unacked: Counter[str] = Counter()
        for row in rows:
            if row["name"] in self._names:
                # A queue that was declared a moment ago has no numbers yet.
                unacked[row["name"]] = row.get("messages_unacknowledged", 0)
        return unacked
