"""What senders say to all (``mail.control``): heartbeats and sightings. Any of it may be lost."""

from collections.abc import Callable

import aio_pika
import structlog

from mailwarren.contracts.codec import NewerVersion, Undecodable, decode_notice, encode, headers_of
from mailwarren.contracts.ids import new_id
from mailwarren.contracts.shaping import Notice
from mailwarren.contracts.topology import Topology
from mailwarren.runtime.amqp import Link, Publisher, PublishError

log = structlog.get_logger()


class Notices:
    """Hears every sender, this one too.

    Args:
        heard: Called for each notice.
    """

    def __init__(self, link: Link, publisher: Publisher, topology: Topology, heard: Callable[[Notice], None]) -> None:
        self._link = link
        self._publisher = publisher
        self._topology = topology
        self._heard = heard
        link.on_up(self._listen)

    async def say(self, notice: Notice) -> None:
        """Tell all; nothing happens when the broker is away."""
        try:
            await self._publisher.publish(
                self._topology.control.name, "", encode(notice), headers_of(notice), mandatory=False
            )
        except PublishError as error:
            log.debug("sender.notice.lost", error=str(error))

    async def _listen(self, connection: aio_pika.abc.AbstractConnection) -> None:
        channel = await self._link.consumer_channel(connection)
        # A new name each time: the broker may hold the old connection, and its exclusive queue, for a while yet.
        queue = await channel.declare_queue(
            self._topology.name(f"control.{new_id().hex}"), exclusive=True, auto_delete=True
        )
        await queue.bind(self._topology.control.name)
        await queue.consume(self._on_notice, no_ack=True)

    async def _on_notice(self, message: aio_pika.abc.AbstractIncomingMessage) -> None:
        try:
            notice = decode_notice(message.body, message.headers)
        except (Undecodable, NewerVersion) as error:
            log.debug("sender.notice.unreadable", error=str(error))
        else:
            self._heard(notice)
