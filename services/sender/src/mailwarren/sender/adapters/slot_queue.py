"""The queues of a site's slots: tokens come, are held unacked, and go back (ADR 0024).

One channel for each site. When it is lost, with its connection or alone, the broker gives all its tokens to others.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import aiormq
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, AbstractQueue
from aiormq.abc import FieldTable

from mailwarren.contracts.codec import NewerVersion, Undecodable, decode_token
from mailwarren.contracts.shaping import Token
from mailwarren.contracts.topology import Topology
from mailwarren.runtime.amqp import is_lost

log = structlog.get_logger()

HIGH_PRIORITY = 10
"""``x-priority`` of the high lane's consumers: a token goes to them first."""


class NoQueue(Exception):
    """The site has no queues of slots: ``topology apply`` did not know it."""


@dataclass(slots=True, eq=False)
class HeldToken:
    """A token in hand. ``taken_at`` is of the loop's clock, ``begun`` the count of mails at that moment."""

    token: Token
    message: AbstractIncomingMessage
    taken_at: float
    begun: int = 0


@dataclass(slots=True)
class Others:
    """Consumers of other senders that wait for a token: for any, and for one of the high lane."""

    any: int = 0
    high: int = 0


@dataclass(slots=True)
class _Consumer:
    queue: AbstractQueue
    tag: str


@dataclass(slots=True)
class SlotQueue:
    """A site's slots on one channel.

    Args:
        came: Called with each token.
        lost: Called when the channel is gone, and all tokens with it.
        high: This sender may have those that are kept for the high lane.
    """

    topology: Topology
    site: str
    came: Callable[[Token, AbstractIncomingMessage], None]
    lost: Callable[[], None]
    high: bool
    _channel: AbstractChannel | None = None
    _consumers: list[_Consumer] = field(default_factory=list)
    _more: int = 0
    """Tokens that may still come."""

    @property
    def open(self) -> bool:
        """There is a channel."""
        return self._channel is not None

    async def connect(self, connection: AbstractConnection) -> None:
        """Open the channel.

        Raises:
            NoQueue: there are no such queues.
        """
        channel = await connection.channel(publisher_confirms=False)
        try:
            for high in (False, True):
                await channel.declare_queue(self._name(high=high), passive=True)
        except aiormq.exceptions.ChannelNotFoundEntity as error:
            raise NoQueue(self.site) from error
        raw = await channel.get_underlay_channel()
        raw.on_consumer_cancel_callbacks.add(lambda _frame: self._gone(channel))
        channel.close_callbacks.add(lambda *_: self._gone(channel))
        self._channel = channel

    async def want(self, most: int) -> None:
        """Take up to ``most`` tokens as they come, 0 for none; what comes beyond a change is for the caller to return.

        A consumer that has ended leaves its tokens in hand: the queue has no single active consumer.
        """
        if self._channel is None or (most == self._more and bool(most) == bool(self._consumers)):
            return
        await self._stop()
        self._more = most
        if not most or self._channel is None:
            return
        channel = self._channel
        await channel.set_qos(prefetch_count=most)
        arguments: FieldTable | None = {"x-priority": HIGH_PRIORITY} if self.high else None
        for high in (True, False) if self.high else (False,):
            queue = await channel.get_queue(self._name(high=high), ensure=False)
            tag = await queue.consume(self._on_token, arguments=arguments)
            self._consumers.append(_Consumer(queue, tag))

    async def others(self) -> Others:
        """Who else waits."""
        if self._channel is None:
            return Others()
        mine = bool(self._consumers)
        found = Others()
        for high in (False, True):
            asked = await self._channel.declare_queue(self._name(high=high), passive=True)
            waiting = (asked.declaration_result.consumer_count or 0) - (mine and (self.high or not high))
            if high:
                found.high = max(0, waiting)
            else:
                found.any = max(0, waiting)
        return found

    async def close(self) -> None:
        """Give all tokens back."""
        channel, self._channel = self._channel, None
        self._consumers.clear()
        self._more = 0
        if channel is not None:
            try:
                await channel.close()
            except Exception as error:
                if not is_lost(error):
                    raise

    async def _stop(self) -> None:
        consumers, self._consumers = self._consumers, []
        for consumer in consumers:
            await consumer.queue.cancel(consumer.tag)

    async def _on_token(self, message: AbstractIncomingMessage) -> None:
        try:
            token = decode_token(message.body, message.headers)
        except NewerVersion:
            return  # held back: who can read it gets it when this sender ends
        except Undecodable as error:
            log.warning("sender.slot.unreadable", site=self.site, error=str(error))
            await message.ack()
            return
        self._more = max(0, self._more - 1)
        self.came(token, message)

    def _gone(self, channel: AbstractChannel) -> None:
        if channel is self._channel:
            self._channel = None
            self._consumers.clear()
            self._more = 0
            self.lost()

    def _name(self, *, high: bool) -> str:
        return str(self.topology.slot_queue(self.site, high=high).name)
