"""The control log: a stream that every sender reads from its start before it delivers anything, and follows.

A cancel therefore reaches a sender that was started after it. The reader knows that it has read everything when it
meets its own marker, which it writes when it begins.
"""

import asyncio
import time
from collections.abc import Callable
from uuid import UUID

import aio_pika
import structlog

from mailwarren.contracts.access import MARKER_KEY
from mailwarren.contracts.codec import NewerVersion, Undecodable, decode_control, encode, headers_of
from mailwarren.contracts.egress import WARMUP_KEY, Reservation
from mailwarren.contracts.events import Cancel, CancelBroadcast, ControlEntry, Marker, Suppress
from mailwarren.contracts.ids import new_id
from mailwarren.contracts.parcel import Delivery, Parcel
from mailwarren.contracts.shaping import SHAPING_KEY, Override, OverrideEnd, SlotPlan
from mailwarren.contracts.topology import Topology
from mailwarren.runtime.amqp import Link, Publisher
from mailwarren.sender.domain.unwanted import KEEP, Unwanted

log = structlog.get_logger()

PREFETCH = 500
PRUNE_EVERY = 10_000


ShapingEntry = Override | OverrideEnd | SlotPlan

_KEYS: dict[type, str] = {
    Marker: MARKER_KEY,
    Reservation: WARMUP_KEY,
    **dict.fromkeys((Override, OverrideEnd, SlotPlan), SHAPING_KEY),
}
"""Under which key an entry has to come when the broker lets senders write it: it knows them by their key."""


class ControlLog:
    """What people have decided, as far as a sender must know it, and what senders tell each other of sites.

    Args:
        shaped: Hears of every override, end and plan.
        reserved: Hears of every reservation of a day's mails.
    """

    def __init__(
        self,
        link: Link,
        topology: Topology,
        shaped: Callable[[ShapingEntry], None],
        reserved: Callable[[Reservation], None] = lambda _: None,
    ) -> None:
        self._link = link
        self._shaped = shaped
        self._reserved = reserved
        self._topology = topology
        self._canceled: dict[UUID, float] = {}
        self._unwanted = Unwanted()
        self._offset: int | None = None
        self._marker: UUID | None = None
        self._read = asyncio.Event()
        self._entries = 0
        link.on_up(self._follow)

    @property
    def read(self) -> bool:
        """Everything written before the last connect has been read."""
        return self._read.is_set() and self._link.up

    async def wait_read(self) -> None:
        """Return when the log has been read to its end."""
        await self._read.wait()

    def is_canceled(self, ident: UUID) -> bool:
        """Whether the email, or the broadcast, was withdrawn."""
        return ident in self._canceled

    def is_withdrawn(self, parcel: Parcel, delivery: Delivery) -> bool:
        """Whether the email, or the broadcast that it is a part of, was withdrawn."""
        return delivery.email_id in self._canceled or (
            parcel.broadcast is not None and parcel.broadcast in self._canceled
        )

    def is_unwanted(self, parcel: Parcel, delivery: Delivery) -> bool:
        """Whether its address was put on a list that the mail has to heed."""
        return bool(self._unwanted) and self._unwanted.holds(parcel, delivery, time.time())

    async def _follow(self, connection: aio_pika.abc.AbstractConnection) -> None:
        self._read.clear()
        channel = await self._link.consumer_channel(connection)
        await channel.set_qos(prefetch_count=PREFETCH)
        queue = await channel.get_queue(self._topology.control_log_queue.name, ensure=False)
        start = "first" if self._offset is None else self._offset + 1
        self._marker = new_id()
        await queue.consume(self._on_entry, arguments={"x-stream-offset": start})
        await self._mark(connection, self._marker)

    async def _mark(self, connection: aio_pika.abc.AbstractConnection, nonce: UUID) -> None:
        channel = await connection.channel(publisher_confirms=True)
        entry = Marker(nonce)
        exchange = await channel.get_exchange(self._topology.control_log.name, ensure=False)
        await exchange.publish(
            aio_pika.Message(encode(entry), headers=headers_of(entry), delivery_mode=2), routing_key=MARKER_KEY
        )
        await channel.close()

    async def _on_entry(self, message: aio_pika.abc.AbstractIncomingMessage) -> None:
        offset = message.headers.get("x-stream-offset")
        if isinstance(offset, int):
            self._offset = offset
        try:
            entry = decode_control(message.body, message.headers)
        except (Undecodable, NewerVersion) as error:
            log.warning("sender.control.unreadable", error=str(error))
        else:
            written = message.routing_key if message.routing_key in _KEYS.values() else None
            if _KEYS.get(type(entry)) == written:
                self._apply(entry)
            else:
                log.warning("sender.control.foreign", entry=type(entry).__name__, key=message.routing_key)
        await message.ack()

    def _apply(self, entry: ControlEntry) -> None:
        match entry:
            case Cancel():
                self._canceled[entry.email_id] = entry.at
            case CancelBroadcast():
                self._canceled[entry.broadcast] = entry.at
            case Marker():
                if entry.nonce == self._marker:
                    self._read.set()
                    log.info("sender.control.read", canceled=len(self._canceled), suppressed=len(self._unwanted))
            case Override() | OverrideEnd() | SlotPlan():
                self._shaped(entry)
            case Reservation():
                self._reserved(entry)
            case Suppress():
                self._unwanted.note(entry)
        self._entries += 1
        if self._entries % PRUNE_EVERY == 0:
            oldest = time.time() - KEEP
            self._canceled = {ident: at for ident, at in self._canceled.items() if at > oldest}
            self._unwanted.prune(time.time())


class ShapingWriter:
    """Writes into the control log what all senders are to obey, or to know; they do so when they read it there."""

    def __init__(self, publisher: Publisher, topology: Topology) -> None:
        self._publisher = publisher
        self._exchange = topology.control_log.name

    async def write(self, entry: ShapingEntry | Reservation) -> None:
        """Return when the broker has confirmed it.

        Raises:
            PublishError: it has not.
        """
        await self._publisher.publish(self._exchange, _KEYS[type(entry)], encode(entry), headers_of(entry))
