"""The post of keeper (``slots.keeper``): whoever holds its message is it, until its broker connection ends."""

from collections.abc import Awaitable, Callable

import aiormq
import structlog
from aio_pika.abc import AbstractConnection, AbstractIncomingMessage

from mailwarren.contracts.codec import encode, headers_of
from mailwarren.contracts.shaping import Token
from mailwarren.contracts.topology import Topology, slot_key
from mailwarren.runtime.amqp import Link, Publisher, is_lost

log = structlog.get_logger()


class KeeperQueue:
    """Waits for the post, and fills the queues of slots.

    Args:
        link: Consumed on.
        publisher: For tokens.
    """

    def __init__(self, link: Link, publisher: Publisher, topology: Topology) -> None:
        self._link = link
        self._publisher = publisher
        self._topology = topology
        self._holding = -1
        self._connection: AbstractConnection | None = None
        link.on_up(self._apply_for)

    @property
    def held(self) -> bool:
        """This sender is the keeper."""
        return self._link.up and self._holding == self._link.epoch

    async def ready(self, site: str) -> int | None:
        """Slots of the site that nobody holds; None when that cannot be asked now."""
        if self._connection is None:
            return None
        try:
            # A channel of its own: a queue that is not there would end the one that holds the post.
            async with self._connection.channel(publisher_confirms=False) as channel:
                names = [self._topology.slot_queue(site, high=high).name for high in (False, True)]
                asked = [await channel.declare_queue(name, passive=True) for name in names]
        except aiormq.exceptions.ChannelNotFoundEntity:
            return 0
        except Exception as error:
            if not is_lost(error):
                raise
            return None
        return sum(one.declaration_result.message_count or 0 for one in asked)

    async def put(self, token: Token, *, high: bool) -> None:
        """Add a slot.

        Raises:
            PublishError: it is not known to be there; ``Unroutable`` when the site has no such queue.
        """
        key = slot_key(token.site, high=high)
        await self._publisher.publish(self._topology.slots.name, key, encode(token), headers_of(token))

    async def _apply_for(self, connection: AbstractConnection) -> None:
        channel = await self._link.consumer_channel(connection)
        await channel.set_qos(prefetch_count=1)
        self._connection = connection
        queue = await channel.get_queue(self._topology.keeper_queue.name, ensure=False)
        await queue.consume(self._on_message(self._link.epoch))

    def _on_message(self, epoch: int) -> Callable[[AbstractIncomingMessage], Awaitable[None]]:
        async def on_message(_: AbstractIncomingMessage) -> None:
            # Never acked: the broker gives the post to the next when this connection ends.
            self._holding = epoch
            log.info("sender.keeper.holds")

        return on_message
