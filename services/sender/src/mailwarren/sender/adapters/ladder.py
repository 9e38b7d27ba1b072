"""Parcels onto the ladder and into ``mail.dead``: confirmed before the parcel they came from is acked."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aio_pika
import structlog

from mailwarren.contracts.codec import encode_parcel, parcel_headers
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.parcel import Parcel, Wait
from mailwarren.contracts.routing import ladder_key
from mailwarren.contracts.shards import SHARDS
from mailwarren.contracts.topology import Topology
from mailwarren.runtime.amqp import Link, Publisher, PublishError
from mailwarren.sender import metrics
from mailwarren.sender.incoming import COUNTS

log = structlog.get_logger()

RETRY = 0.2
NEWER_WAIT = 40.0
"""Seconds that a parcel of a newer version waits for a sender that can read it."""

Owned = Callable[[], bool]
"""Whether the parcel at hand is still ours: its broker connection lives."""


class Stale(Exception):
    """The parcel belongs to somebody else by now; what is not done must not be done here."""


class LadderWriter:
    """Publishes to ``mail.defer`` and ``mail.dead``, again and again while the parcel is ours."""

    def __init__(self, link: Link, publisher: Publisher, topology: Topology) -> None:
        self._publisher = publisher
        self._topology = topology
        self._places = {topology.send_queue(lane, shard).name: (lane, shard) for lane in Lane for shard in SHARDS}
        link.on_up(self._check_rungs)

    async def _check_rungs(self, connection: aio_pika.abc.AbstractConnection) -> None:
        """Fail the connect when a rung is missing, as it is when ``topology apply`` ran for another time scale.

        The event partition would still take the deferral, so the publish would be confirmed, and nothing would bring
        the parcel back: ``mandatory`` cannot notice.
        """
        channel = await connection.channel(publisher_confirms=False)
        for queue in self._topology.rung_queues:
            await channel.declare_queue(queue.name, passive=True)
        await channel.close()

    async def put(self, parcel: Parcel, wait: float, owned: Owned) -> None:
        """Put a parcel on the rung for ``wait`` seconds; a deferral reaches its event partition as well.

        Raises:
            Stale: the broker connection was lost before this was confirmed.
        """
        rung = self._topology.ladder.next_rung(wait) or self._topology.ladder.names[0]
        recorded = parcel.partition if parcel.wait is Wait.DEFERRED else None
        key = ladder_key(parcel.lane, parcel.shard, rung, recorded)
        body, headers = encode_parcel(parcel), parcel_headers(parcel)
        await _insist(lambda: self._publisher.publish(self._topology.defer.name, key, body, headers), owned)
        metrics.record_ladder(parcel.lane, parcel.wait or "none")

    async def put_unread(self, body: bytes, headers: dict[str, Any], *, queue: str, owned: Owned) -> None:
        """Put bytes that only a newer sender can read back on the ladder, as they are, for the queue they came from.

        Raises:
            Stale: as :meth:`put`.
        """
        lane, shard = self._places[queue]
        ladder = self._topology.ladder
        rung = ladder.next_rung(NEWER_WAIT * ladder.scale) or ladder.names[0]
        key = ladder_key(lane, shard, rung, None)
        # The broker's own headers stay behind: an old x-death would grow for as long as the parcel goes round.
        kept = {name: value for name, value in headers.items() if not name.startswith("x-")}
        await _insist(lambda: self._publisher.publish(self._topology.defer.name, key, body, kept), owned)
        metrics.record_ladder(lane, Wait.NEWER)

    async def park(
        self, body: bytes, headers: dict[str, Any], *, queue: str, key: str, reason: str, owned: Owned
    ) -> None:
        """Set a message aside for a person, with what is needed to replay it.

        Raises:
            Stale: as :meth:`put`.
        """
        marked = {
            **{name: value for name, value in headers.items() if name not in ("x-death", *COUNTS)},
            "mw-reason": reason[:8000],
            "mw-from": queue,
            "mw-exchange": self._topology.send.name,
            "mw-key": key,
        }
        await _insist(lambda: self._publisher.publish(self._topology.dead.name, key, body, marked), owned)


async def _insist(publish: Callable[[], Awaitable[None]], owned: Owned) -> None:
    while True:
        if not owned():
            raise Stale
        try:
            await publish()
        except PublishError as error:
            log.warning("sender.ladder.repeated", error=str(error))
            await asyncio.sleep(RETRY)
        else:
            return
