"""Sinks on real sockets, in the test's loop (asyncio's own and uvloop, which the program runs on)."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme
import uvloop

from mailwarren.sink.server import Sink


def pytest_asyncio_loop_factories(config: Any, item: Any) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


class Client:
    """A client that says exactly what it is told, and reads replies."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def say(self, octets: bytes) -> None:
        self.writer.write(octets)

    async def reply(self) -> bytes:
        """The last line of the next reply; empty at the end of the connection."""
        while True:
            line = await asyncio.wait_for(self.reader.readline(), 10)
            if line[3:4] != b"-":
                return line

    async def codes(self, count: int) -> list[int]:
        return [int((await self.reply())[:3]) for _ in range(count)]

    async def ask(self, *lines: bytes) -> list[int]:
        """Send lines in one write, and read as many replies."""
        self.say(b"".join(line + b"\r\n" for line in lines))
        return await self.codes(len(lines))

    async def ends(self) -> bool:
        """Whether the connection ends now, without another octet."""
        try:
            return await asyncio.wait_for(self.reader.read(1), 10) == b""
        except ConnectionResetError:
            return True

    async def envelope(self, *recipients: bytes) -> list[int]:
        """MAIL, RCPTs and DATA in one write."""
        return await self.ask(b"MAIL FROM:<a@x.test>", *[b"RCPT TO:<" + r + b">" for r in recipients], b"DATA")


Dial = Callable[..., Any]


@pytest.fixture
def dial() -> Dial:
    """Connect to a sink: ``async with dial(sink) as client``, past EHLO unless told otherwise."""

    @asynccontextmanager
    async def connect(sink: Sink, *, hello: bool = True, port: int | None = None) -> AsyncIterator[Client]:
        reader, writer = await asyncio.open_connection(sink.smtp_host, port or sink.smtp_port)
        client = Client(reader, writer)
        try:
            if hello:
                assert await client.codes(1) == [220]
                assert await client.ask(b"EHLO me.test") == [250]
            yield client
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    return connect
