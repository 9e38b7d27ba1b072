"""What senders tell of themselves: heartbeats on ``mail.control``, over an exclusive queue of this process."""

import asyncio
import time
import uuid

import aio_pika
import structlog

from mailwarren.contracts.codec import NewerVersion, Undecodable, decode_notice
from mailwarren.contracts.shaping import Heartbeat
from mailwarren.contracts.topology import Topology
from mailwarren.ingest.domain.roster import Roster
from mailwarren.runtime.amqp import Link

log = structlog.get_logger()

AGAIN_AFTER = 2.0
"""Seconds before it tries again to listen."""


class Heartbeats:
    """Follows the senders' heartbeats while the link is up. What is lost comes again two seconds later."""

    def __init__(self, link: Link, topology: Topology) -> None:
        self._link = link
        self._topology = topology
        self._roster = Roster()
        self._since: float | None = None
        self._listening: asyncio.Task[None] | None = None
        link.on_up(self._follow)

    @property
    def live(self) -> list[tuple[float, Heartbeat]]:
        """Seconds since each live sender was heard, with what it said."""
        return self._roster.live(time.monotonic())

    @property
    def listening_for(self) -> float:
        """Seconds for which it has listened; 0 without a broker. Nobody is known to be away before two heartbeats."""
        return time.monotonic() - self._since if self._since is not None and self._link.up else 0.0

    async def _follow(self, connection: aio_pika.abc.AbstractConnection) -> None:
        """Beside the link's coming up: mail is accepted also where nothing can be heard."""
        if self._listening is not None:
            self._listening.cancel()
        self._since = None
        self._listening = asyncio.create_task(self._keep_listening(connection))

    async def _keep_listening(self, connection: aio_pika.abc.AbstractConnection) -> None:
        trouble: str | None = None
        while not connection.is_closed:
            ended = asyncio.Event()
            try:
                channel = await connection.channel(publisher_confirms=False)
                channel.close_callbacks.add(lambda *_, ended=ended: ended.set())
                await self._listen(channel)
                trouble = None
                await ended.wait()
            except Exception as error:  # noqa: BLE001 - no exchange, no right, no connection: it is tried again
                if trouble != (trouble := f"{type(error).__name__}: {error}"):
                    log.warning("ingest.heartbeats.unheard", error=trouble)
            self._since = None
            await asyncio.sleep(AGAIN_AFTER)

    async def _listen(self, channel: aio_pika.abc.AbstractChannel) -> None:
        queue = await channel.declare_queue(
            self._topology.name(f"control.{uuid.uuid4().hex}"), exclusive=True, auto_delete=True
        )
        await queue.bind(self._topology.control.name)
        await queue.consume(self._hear, no_ack=True)
        self._since = time.monotonic()

    async def _hear(self, message: aio_pika.abc.AbstractIncomingMessage) -> None:
        try:
            notice = decode_notice(message.body, message.headers)
        except (Undecodable, NewerVersion) as error:
            log.debug("ingest.notice.unreadable", error=str(error))
            return
        if isinstance(notice, Heartbeat):
            self._roster.hear(notice, time.monotonic())
