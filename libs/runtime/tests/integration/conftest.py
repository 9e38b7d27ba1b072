"""A wire between a client and a broker that can be cut, held and made to speak; queues to publish to."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aio_pika
import pytest
from pamqp import frame
from pamqp.base import Frame
from yarl import URL

from mailwarren.runtime.amqp import Link, Publisher

numbers = itertools.count()


class Wire:
    """A TCP relay before a real broker, on a port of its own that stays the same while it is cut.

    Args:
        url: the broker's.
    """

    def __init__(self, url: str) -> None:
        self._upstream = URL(url)
        self._server: asyncio.Server | None = None
        self._port = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._clients: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._replies = asyncio.Event()
        self._replies.set()
        self.sent = 0
        """Bytes that went to the broker."""

    @property
    def url(self) -> str:
        """The broker's URL by way of this wire."""
        return str(self._upstream.with_host("127.0.0.1").with_port(self._port))

    async def open(self) -> None:
        """Listen, at first on a free port and later on the same."""
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self, *, listening: bool = True) -> None:
        """Break every connection at once; without ``listening`` new ones are refused too."""
        if not listening and self._server is not None:
            self._server.close()
            self._server = None
        for writer in tuple(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0)

    def hold_replies(self) -> None:
        """What the broker says stays here until :meth:`release_replies`."""
        self._replies.clear()

    def release_replies(self) -> None:
        """The broker is heard again."""
        self._replies.set()

    def say(self, words: Frame) -> None:
        """A frame to every client, as if the broker had sent it. Only while the broker is silent."""
        for writer in self._clients:
            writer.write(frame.marshal(words, 0))

    async def close(self) -> None:
        """Cut for good."""
        await self.cut(listening=False)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = self._upstream.host or "", self._upstream.port or 5672
        broker_reader, broker_writer = await asyncio.open_connection(host, port)
        self._writers |= {writer, broker_writer}
        self._clients.add(writer)
        both = [
            asyncio.create_task(self._pump(reader, broker_writer, to_broker=True)),
            asyncio.create_task(self._pump(broker_reader, writer, to_broker=False)),
        ]
        self._tasks.update(both)
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for end in (writer, broker_writer):
            end.transport.abort()
        self._writers -= {writer, broker_writer}
        self._clients.discard(writer)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, to_broker: bool) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                if not to_broker:
                    await self._replies.wait()
                writer.write(data)
                await writer.drain()
                self.sent += len(data) if to_broker else 0


@pytest.fixture
async def wire(rabbitmq) -> AsyncIterator[Wire]:
    """A wire to the shared broker."""
    relay = Wire(rabbitmq.amqp_url)
    await relay.open()
    yield relay
    await relay.close()


@pytest.fixture
def eventually() -> Callable[..., Awaitable[None]]:
    """Wait until a condition holds, at most some seconds."""

    async def wait_for(condition: Callable[[], bool], within: float = 10.0) -> None:
        async with asyncio.timeout(within):
            while not condition():
                await asyncio.sleep(0.005)

    return wait_for


class Broker:
    """Queues of one test, on a connection of the test's own."""

    def __init__(self, connection: aio_pika.abc.AbstractConnection, prefix: str) -> None:
        self._connection = connection
        self._prefix = prefix

    async def queue(self, **arguments: Any) -> str:
        """The name of a new queue with these arguments (``x_max_length`` for ``x-max-length``)."""
        channel = await self._connection.channel()
        named = {key.replace("_", "-"): value for key, value in arguments.items()}
        name = f"{self._prefix}q{next(numbers)}"
        await channel.declare_queue(name, durable=True, arguments={"x-queue-type": "quorum"} | named)
        return name

    async def messages(self, queue: str) -> list[aio_pika.abc.AbstractIncomingMessage]:
        """All messages in a queue, taken out."""
        channel = await self._connection.channel()
        source = await channel.get_queue(queue)
        taken = []
        while (message := await source.get(no_ack=True, fail=False)) is not None:
            taken.append(message)
        return taken

    async def exchange(self, *queues: str) -> str:
        """The name of a new topic exchange that gives everything to ``queues``."""
        channel = await self._connection.channel()
        exchange = await channel.declare_exchange(f"{self._prefix}x{next(numbers)}", "topic", durable=True)
        for queue in queues:
            await (await channel.get_queue(queue)).bind(exchange, "#")
        return exchange.name


@pytest.fixture
async def broker(rabbitmq, amqp_prefix) -> AsyncIterator[Broker]:
    async with await aio_pika.connect(rabbitmq.amqp_url) as connection:
        yield Broker(connection, amqp_prefix)


@pytest.fixture
async def link(wire) -> AsyncIterator[Link]:
    async with Link(wire.url, "test") as link:
        yield link


@pytest.fixture
async def publisher(link) -> Publisher:
    publisher = Publisher(link)
    await asyncio.wait_for(link.wait_up(), 10)
    return publisher
