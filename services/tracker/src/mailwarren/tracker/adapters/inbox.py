"""The tracker's queues over one channel."""

import asyncio
import time
from collections import deque
from collections.abc import Coroutine, Mapping
from functools import partial
from typing import Any, cast

import aio_pika
import structlog
from aiormq.abc import DeliveredMessage
from aiormq.channel import Channel as RawChannel
from pamqp.commands import Basic

from mailwarren.runtime.amqp import Link, is_lost
from mailwarren.tracker import metrics
from mailwarren.tracker.domain.prefetch import Prefetch
from mailwarren.tracker.domain.read import Message, Source

log = structlog.get_logger()

CHANNEL_TIMEOUT = 10.0
LEFT_FOR = 10.0
"""Seconds after which a queue that was left is looked into again."""
LEFT_SEEN = 3.0
"""Seconds more for which a queue counts as left: if nothing of a newer version comes by then, it is over."""


class QueueInbox:
    """Consumes all queues over one channel, so that one ack covers a batch.

    The channel is opened again with every connection of the link; a channel that breaks alone, or a consumer that
    the broker cancels, breaks the connection, for that is how everything is set up again. Nothing is ever cancelled
    from here: a queue with a single active consumer keeps its order only when the channel goes with its messages.

    What is in hand (delivered and not acked) is bounded in octets: beyond the budget the channel is closed, with which
    everything in hand goes back to its place, and a new one takes fewer messages.

    Args:
        link: the connection.
        queues: what to consume.
        prefetch: messages in hand for each queue, at most.
        budget: octets in hand, about.
    """

    def __init__(self, link: Link, queues: Mapping[str, Source], prefetch: int, budget: int) -> None:
        self._link = link
        self._queues = queues
        self._prefetch = Prefetch(prefetch, budget, len(queues))
        self._messages: deque[Message] = deque()
        self._sizes: deque[tuple[int, int]] = deque()
        self._octets = 0
        self._arrived = asyncio.Event()
        self._connection: aio_pika.abc.AbstractConnection | None = None
        self._channel: RawChannel | None = None
        self._epoch = 0
        self._tag = 0
        self._closing = False
        self._reopening = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._left: set[str] = set()
        self._newer: dict[str, tuple[str, float]] = {}
        link.on_up(self._open)

    @property
    def trouble(self) -> str | None:
        """Why it does not consume; None while the channel is open, or just being changed for another."""
        if not self._link.up:
            return self._link.trouble or "not connected to the broker"
        if self._reopening or (self._channel is not None and not self._channel.is_closed):
            return None
        return "the channel to the broker was lost"

    @property
    def newer(self) -> str | None:
        """What lies in queues for a tracker of a newer version; None when there is nothing."""
        now = time.monotonic()
        waiting = [f"{queue}: {why}" for queue, (why, until) in self._newer.items() if until > now]
        return "; ".join(sorted(waiting)) or None

    def pop(self) -> Message | None:
        """The next message, None when there is none at the moment."""
        return self._messages.popleft() if self._messages else None

    async def wait(self, seconds: float) -> None:
        """Return when there is a message, or after ``seconds``."""
        if self._messages:
            return
        self._arrived.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._arrived.wait()
        except TimeoutError:
            return

    def current(self, message: Message) -> bool:
        """Whether the message can still be acked; if not, the broker delivers it again."""
        return message.epoch == self._epoch and self._channel is not None and not self._channel.is_closed

    async def ack(self, message: Message) -> bool:
        """Ack this message and all before it; false when they are stale, which is no harm."""
        channel = self._channel
        if channel is None or not self.current(message):
            return False
        try:
            await channel.basic_ack(message.tag, multiple=True)
        except Exception as error:
            if not is_lost(error):
                raise
            log.info("tracker.ack.lost", error=f"{type(error).__name__}: {error}")
            return False
        self._forget(message)
        return True

    def leave(self, message: Message, why: str) -> None:
        """Give the message's queue up for a while: everything in hand goes back to its place, in its order.

        A newer tracker beside this one takes the queue over; where there is none, it waits.
        """
        if self._connection is None or not self.current(message):
            return
        until = time.monotonic() + LEFT_FOR + LEFT_SEEN
        if message.queue not in self._newer or self._newer[message.queue][1] < time.monotonic():
            log.warning("tracker.queue.left", queue=message.queue, why=why)
        self._newer[message.queue] = why, until
        if not self._left:
            asyncio.get_running_loop().call_later(LEFT_FOR, self._return)
        self._left.add(message.queue)
        self._reopen(self._connection)

    def _return(self) -> None:
        """Look into the queues again that were left."""
        self._left.clear()
        if self._connection is not None and self._channel is not None and not self._closing:
            self._reopen(self._connection)

    async def close(self) -> None:
        """Close the channel: what is not acked goes back to its queue, in its place."""
        self._closing = True
        if self._channel is not None and not self._channel.is_closed:
            await asyncio.gather(self._channel.close(), return_exceptions=True)

    async def _open(self, connection: aio_pika.abc.AbstractConnection) -> None:
        channel = await connection.channel(publisher_confirms=False)
        raw = cast("RawChannel", await channel.get_underlay_channel())
        epoch = self._begin()
        self._connection, self._channel, self._reopening = connection, raw, False
        raw.on_consumer_cancel_callbacks.add(
            partial(self._break, connection, epoch, "consumer cancelled by the broker")
        )
        raw.closing.add_done_callback(partial(self._break, connection, epoch, "channel closed"))
        try:
            await raw.basic_qos(prefetch_count=self._prefetch.now)
            for queue, source in self._queues.items():
                if queue in self._left:
                    continue
                await raw.basic_consume(queue, partial(self._deliver, connection, epoch, source, queue))
        except Exception as error:
            # Else the first queues had too much already, and the next channel is on its way.
            if epoch == self._epoch or not is_lost(error):
                raise

    def _begin(self) -> int:
        """A new epoch with nothing in hand."""
        self._messages.clear()
        self._sizes.clear()
        self._octets = self._tag = 0
        self._epoch += 1
        metrics.record_in_hand(0, self._prefetch.now)
        return self._epoch

    async def _deliver(
        self,
        connection: aio_pika.abc.AbstractConnection,
        epoch: int,
        source: Source,
        queue: str,
        message: DeliveredMessage,
    ) -> None:
        delivery = cast("Basic.Deliver", message.delivery)
        tag = delivery.delivery_tag or 0
        if epoch != self._epoch:
            return
        if tag != self._tag + 1:
            # An ack of many must not cover a message that nobody has recorded.
            self._break(connection, epoch, "messages out of order")
            return
        self._tag = tag
        self._messages.append(
            Message(
                source=source,
                queue=queue,
                body=message.body,
                headers=message.header.properties.headers or {},
                exchange=delivery.exchange or "",
                key=delivery.routing_key or "",
                tag=tag,
                epoch=epoch,
            )
        )
        self._sizes.append((tag, len(message.body)))
        self._octets += len(message.body)
        if self._prefetch.falls(self._octets, len(self._sizes), time.monotonic()):
            log.info("tracker.prefetch.changed", prefetch=self._prefetch.now)
            self._reopen(connection)
        self._arrived.set()

    def _forget(self, acked: Message) -> None:
        """An acked message and all before it are not in hand any more; perhaps there is room for more now."""
        while self._sizes and self._sizes[0][0] <= acked.tag:
            self._octets -= self._sizes.popleft()[1]
        metrics.record_in_hand(self._octets, self._prefetch.now)
        if self._connection is not None and self._prefetch.rises(time.monotonic()):
            log.info("tracker.prefetch.changed", prefetch=self._prefetch.now)
            self._reopen(self._connection)

    def _reopen(self, connection: aio_pika.abc.AbstractConnection) -> None:
        channel, self._channel, self._reopening = self._channel, None, True
        self._do(self._change_channel(connection, channel, self._begin()))

    async def _change_channel(
        self, connection: aio_pika.abc.AbstractConnection, old: RawChannel | None, epoch: int
    ) -> None:
        try:
            async with asyncio.timeout(CHANNEL_TIMEOUT):
                if old is not None:
                    await asyncio.gather(old.close(), return_exceptions=True)
                if epoch == self._epoch and not self._closing:
                    await self._open(connection)
        except Exception as error:
            if not is_lost(error):
                raise
            self._break(connection, self._epoch, f"no channel: {type(error).__name__}: {error}")

    def _break(self, connection: aio_pika.abc.AbstractConnection, epoch: int, why: str, *_: object) -> None:
        if epoch != self._epoch or connection.is_closed or self._closing:
            return
        log.warning("tracker.channel.lost", why=why)
        self._do(connection.close())

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
