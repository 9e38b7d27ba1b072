"""Wires to the servers that can be cut, so that a test need not stop a server that others use."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import pytest

T = TypeVar("T")


class Wire:
    """A TCP relay before a real server that can be cut or made to swallow the answers."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._listener: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._port = 0
        self.swallow = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wire", daemon=True)
        self._thread.start()
        self.mend()

    @property
    def url(self) -> str:
        """The server's URL by way of this wire."""
        account = self._parts.netloc.rpartition("@")[0]
        return urlunsplit(self._parts._replace(netloc=f"{account}@127.0.0.1:{self._port}" if account else
                                               f"127.0.0.1:{self._port}"))  # fmt: skip

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def mend(self) -> None:
        """Let everything through again."""
        self.swallow = False
        if self._listener is None:
            self._run(self._listen())

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._relay, "127.0.0.1", self._port)
        self._port = self._listener.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Break every connection and refuse new ones."""
        self._run(self._cut())

    async def _cut(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for writer in list(self._writers):
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server = await asyncio.open_connection(self._parts.hostname, self._parts.port)
        pair = {writer, server[1]}
        self._writers |= pair
        try:
            await asyncio.gather(
                self._pump(reader, server[1], answers=False), self._pump(server[0], writer, answers=True)
            )
        finally:
            self._writers -= pair
            for end in pair:
                end.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if not (answers and self.swallow):
                    writer.write(data)
                    await writer.drain()
        writer.close()

    def close(self) -> None:
        self._run(self._cut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


@pytest.fixture
def wire() -> Iterator[Callable[[str], Wire]]:
    """Makes wires."""
    made: list[Wire] = []

    def make(url: str) -> Wire:
        made.append(Wire(url))
        return made[-1]

    yield make
    for one in made:
        one.close()
