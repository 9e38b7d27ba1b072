"""The link to RabbitMQ: one connection that comes back, and publishes that are confirmed or say what became of them.

A lost connection never blocks a caller: a publish without a connection fails at once with :class:`NotConnected`, and
the caller decides. Nothing is declared here (but exclusive queues of the process itself), and consumers are set up
again by the ``on_up`` callbacks after every connect, because a delivery from before is stale.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any, Self, cast

import aio_pika
import aiormq
import structlog
from aiormq.channel import Channel as RawChannel

from mailwarren.runtime.bursts import Bursts, ChannelEnded, NotSent
from mailwarren.runtime.reasons import broker_trouble
from mailwarren.runtime.tasks import end

log = structlog.get_logger()

FIRST_RETRY = 0.2
LAST_RETRY = 5.0
HEARTBEAT = 15
BLOCK_LOOK = 0.5
CONFIRM_TIMEOUT = 5.0
REFUSED_RENEW = 1.0
"""Seconds from one new channel to the next while a queue refuses what is published."""
REFUSED_GRACE = CONFIRM_TIMEOUT + 1
"""Seconds in which what was published over the old one may still be confirmed."""


class PublishError(Exception):
    """A publish without a confirm."""


class NotConnected(PublishError):
    """There is no connection, or the broker blocks publishers: nothing was sent."""


class Unroutable(PublishError):
    """No queue is bound for the key (``mandatory``): nothing was stored."""


class Nacked(PublishError):
    """A queue refused it; other queues may hold a copy."""


class Unknown(PublishError):
    """Sent, but the confirm was lost or is late: it may be stored or not."""


_LOST = (TimeoutError, aiormq.exceptions.AMQPError, ConnectionError, RuntimeError)


def is_lost(error: Exception) -> bool:
    """Whether ``error`` says that a connection or a channel ended under a call, or that no answer came.

    What ends without a reason ends the calls that wait for it with a bare ``Exception`` (aiormq's ``reject_all``).
    """
    return isinstance(error, _LOST) or type(error) is Exception


OnUp = Callable[[aio_pika.abc.AbstractConnection], Awaitable[None]]


class Link:
    """A connection that is made again whenever it is lost.

    Args:
        url: with the virtual host.
        name: shown in the broker's list of connections.
    """

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name
        self._on_up: list[OnUp] = []
        self._task: asyncio.Task[None] | None = None
        self._connection: aio_pika.abc.AbstractConnection | None = None
        self._up = asyncio.Event()
        self._closed = asyncio.Event()
        self.blocked = False
        """The broker has run into its memory or disk alarm and takes no publishes."""
        self.trouble: str | None = "not connected to the broker yet"
        """Why it is not :attr:`up`, in words for a person; None when it is."""
        self.epoch = 0
        """Counts connections: what an older epoch delivered must not be acked in a newer one."""

    def on_up(self, callback: OnUp) -> None:
        """Run ``callback`` after every connect, in the order of registration, before :attr:`up` is true."""
        self._on_up.append(callback)

    async def consumer_channel(self, connection: aio_pika.abc.AbstractConnection) -> aio_pika.abc.AbstractChannel:
        """A channel for consuming inside an ``on_up`` callback, without confirms.

        When the broker closes it or cancels a consumer on it (its queue was deleted, or lost its leader), the whole
        connection is made again: a consumer that silently stopped would be worse than a short gap.
        """
        closed = self._closed
        channel = await connection.channel(publisher_confirms=False)
        raw = cast("RawChannel", await channel.get_underlay_channel())
        raw.on_consumer_cancel_callbacks.add(lambda _frame: closed.set())
        channel.close_callbacks.add(lambda *_: closed.set())
        return channel

    @property
    def up(self) -> bool:
        """Connected, and all callbacks have run."""
        return self._up.is_set()

    async def wait_up(self) -> None:
        """Return when connected."""
        await self._up.wait()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._keep(), name=f"amqp-{self._name}")
        return self

    async def __aexit__(self, *_: object) -> None:
        await end([self._task] if self._task is not None else [])
        await self._drop()

    async def _keep(self) -> None:
        wait = FIRST_RETRY
        while True:
            try:
                await self._connect()
                wait = FIRST_RETRY
                await self._until_closed()
                self.trouble = "the connection to the broker was lost"
                log.warning("amqp.link.lost", link=self._name)
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, the answer is to connect again
                self.trouble = broker_trouble(error, self._url)
                log.warning("amqp.link.down", link=self._name, error=self.trouble, retry_in=wait)
            await self._drop()
            await asyncio.sleep(wait)
            wait = min(wait * 2, LAST_RETRY)

    async def _connect(self) -> None:
        self._closed = asyncio.Event()
        self._connection = await aio_pika.connect(
            _with_heartbeat(self._url), client_properties={"connection_name": self._name}, timeout=10
        )
        closed = self._closed
        self._connection.close_callbacks.add(lambda *_: closed.set())
        self.epoch += 1
        for callback in self._on_up:
            await callback(self._connection)
        self.trouble = None
        self._up.set()
        log.info("amqp.link.up", link=self._name, epoch=self.epoch)

    async def _until_closed(self) -> None:
        while not self._closed.is_set():
            await self._look_for_block()
            # Not wait_for: Python 3.11's loses a cancel that comes as its awaitable ends, and then nothing ends this.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BLOCK_LOOK):
                    await self._closed.wait()

    async def _look_for_block(self) -> None:
        # The broker stops reading from a connection that it blocks, and aiormq tells nobody: publishes would wait for
        # their confirms in vain. ready() returns at once unless the broker blocks.
        transport = self._connection.transport if self._connection else None
        if transport is None:
            return
        try:
            async with asyncio.timeout(0.05):
                await transport.connection.ready()
            blocked = False
        except TimeoutError:
            blocked = True
        if blocked != self.blocked:
            self.blocked = blocked
            log.warning("amqp.link.blocked" if blocked else "amqp.link.unblocked", link=self._name)

    async def _drop(self) -> None:
        self._up.clear()
        connection, self._connection = self._connection, None
        if connection is not None:
            await asyncio.gather(connection.close(), return_exceptions=True)


async def _close(channel: aio_pika.abc.AbstractChannel) -> None:
    try:
        await channel.close()
    except Exception as error:
        if not is_lost(error):
            raise


def _with_heartbeat(url: str) -> str:
    return url if "heartbeat=" in url else f"{url}{'&' if '?' in url else '?'}heartbeat={HEARTBEAT}"


class Publisher:
    """Confirmed publishes over one channel of a link.

    Any number of publishes may wait for their confirms side by side: they share the broker's round of fsyncs, and those
    of one turn of the loop share a write. Bodies are persistent (``delivery_mode=2``) JSON.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._connection: aio_pika.abc.AbstractConnection | None = None
        self._channel: aio_pika.abc.AbstractChannel | None = None
        self._bursts: Bursts | None = None
        self._opened_at = 0.0
        self._closing: set[asyncio.Task[None]] = set()
        self._opening = asyncio.Lock()
        link.on_up(self._open)

    async def _open(self, connection: aio_pika.abc.AbstractConnection) -> None:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        self._connection = connection
        self._channel = channel
        self._bursts = Bursts(cast("RawChannel", await channel.get_underlay_channel()))
        self._opened_at = time.monotonic()

    @property
    def _usable(self) -> Bursts | None:
        return self._bursts if self.ready and self._bursts is not None and not self._bursts.ended else None

    async def _reopened(self) -> Bursts:
        """The channel; opened again when the broker closed it, as it does for an exchange that does not exist."""
        async with self._opening:
            if self.ready and self._connection is not None and self._usable is None:
                try:
                    async with asyncio.timeout(CONFIRM_TIMEOUT):
                        await self._open(self._connection)
                except Exception as error:
                    if not is_lost(error):
                        raise
                    raise NotConnected(f"no channel: {type(error).__name__} {error}") from error
        if (bursts := self._usable) is None:
            raise NotConnected("no connection to the broker, or it blocks publishers")
        return bursts

    def _renew(self, refused: Bursts) -> None:
        """Publish over a new channel from now on.

        A channel that first meets a quorum queue while its leader is being elected asks the node that died, and has all
        refused for as long as that node is away; a new channel asks the new leader.
        """
        channel = self._channel
        if refused is not self._bursts or channel is None or time.monotonic() < self._opened_at + REFUSED_RENEW:
            return
        self._bursts = None
        asyncio.get_running_loop().call_later(REFUSED_GRACE, self._retire, channel)

    def _retire(self, channel: aio_pika.abc.AbstractChannel) -> None:
        task = asyncio.ensure_future(_close(channel))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    @property
    def ready(self) -> bool:
        """A publish would be tried now."""
        return self._link.up and not self._link.blocked

    async def publish(
        self,
        exchange: str,
        routing_key: str,
        body: bytes,
        headers: dict[str, Any],
        *,
        mandatory: bool = True,
        timeout: float = CONFIRM_TIMEOUT,  # noqa: ASYNC109 - one timer instead of a context manager for each
    ) -> None:
        """Return when the broker has confirmed the message to all queues that it went to.

        Raises:
            NotConnected: nothing was sent.
            Unroutable: no queue for the key; nothing was stored.
            Nacked: at least one queue refused it.
            Unknown: no confirm came within ``timeout`` seconds, or the connection was lost.
            ValueError: the key, or another name, is too long for AMQP; nothing was sent.
            TypeError: a header of a type that AMQP does not have; nothing was sent.
        """
        bursts = self._usable or await self._reopened()
        try:
            await bursts.publish((exchange, routing_key, mandatory), headers, body, timeout)
        except NotSent as error:
            raise NotConnected(f"{routing_key} was not sent: {error}") from error
        except aiormq.exceptions.PublishError as error:
            raise Unroutable(f"{exchange} has no queue for {routing_key}") from error
        except aiormq.exceptions.DeliveryError as error:
            self._renew(bursts)
            raise Nacked(f"the broker refused {routing_key}") from error
        except (ChannelEnded, TimeoutError) as error:
            raise Unknown(f"no confirm for {routing_key}: {type(error).__name__} {error}") from error
