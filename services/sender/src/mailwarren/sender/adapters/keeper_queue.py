"""The post of keeper (``slots.keeper``): whoever holds its message is it, until its broker connection ends."""

from collections.abc import Awaitable, Callable

import structlog
from aio_pika.abc import AbstractConnection, AbstractIncomingMessage

from mailwarren.contracts.codec import encode, headers_of
from mailwarren.contracts.shaping import Token
from mailwarren.contracts.topology import Topology, slot_key
from mailwarren.runtime.amqp import Link, Publisher

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
        link.on_up(self._apply_for)

    @property
    def held(self) -> bool:
        """This sender is the keeper."""
        return self._link.up and self._holding == self._link.epoch

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
        queue = await channel.get_queue(self._topology.keeper_queue.name, ensure=False)
        await queue.consume(self._on_message(self._link.epoch))

    def _on_message(self, epoch: int) -> Callable[[AbstractIncomingMessage], Awaitable[None]]:
        async def on_message(_: AbstractIncomingMessage) -> None:
            # Never acked: the broker gives the post to the next when this connection ends.
            self._holding = epoch
            log.info("sender.keeper.holds")

        return on_message
