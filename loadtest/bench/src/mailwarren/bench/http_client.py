"""Posts prepared bodies as cheaply as possible: HTTP/1.1 over kept-alive connections, bytes in, status out.

It reads answers that have a Content-Length and no others. A post is never sent twice: what got no answer, because the
connection was lost, has status 0.
"""

import asyncio
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

NO_ANSWER = 0
_Answer = tuple[int, bytes]
_HEAD = re.compile(rb"HTTP/1\.1 (\d{3})[^\r\n]*\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)[ \t]*\r\n", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection:[ \t]*close[ \t]*\r\n", re.IGNORECASE)


class Unreadable(RuntimeError):
    """An answer that this client does not understand."""


class Posted(NamedTuple):
    """What became of one body."""

    started_at: float
    """Unix seconds: when it was written, or with a rate, when it was due."""
    seconds: float
    """From ``started_at`` to the last octet of the answer."""
    status: int
    """:data:`NO_ANSWER` when the connection was lost."""
    body: bytes
    """The answer's."""

    @property
    def answered_at(self) -> float:
        """Unix seconds."""
        return self.started_at + self.seconds


async def post_all(
    url: str, headers: Mapping[str, str], bodies: Sequence[bytes], *, connections: int, rate: float | None = None
) -> list[Posted]:
    """Post each body once; returns one :class:`Posted` for each, in the same order.

    Args:
        url: ``http://host:port/path``.
        headers: beside Host and Content-Length.
        bodies: as they go over the wire.
        connections: how many posts may wait for their answers at once.
        rate: posts a second, however slow the answers are: a post that has to wait for a free connection has been
            waiting since it was due. None: each connection posts again as soon as it has its answer.

    Raises:
        OSError: nobody listens there.
        Unreadable: the answer has no Content-Length, or is no HTTP/1.1.
    """
    target = urlsplit(url)
    head = _head(target, headers)
    posts: list[Posted] = [Posted(0.0, 0.0, NO_ANSWER, b"")] * len(bodies)
    waiting = iter(range(len(bodies)))
    lines = [_Line(target) for _ in range(min(connections, len(bodies)))]
    await asyncio.gather(*(line.open() for line in lines))
    clock = _Clock()
    try:
        async with asyncio.TaskGroup() as group:
            for line in lines:
                group.create_task(_work(line, head, bodies, waiting, posts, clock=clock, rate=rate))
    except ExceptionGroup as several:
        raise several.exceptions[0] from None
    finally:
        for line in lines:
            line.close()
    return posts


async def _work(
    line: "_Line",
    head: bytes,
    bodies: Sequence[bytes],
    waiting: Iterator[int],
    posts: list[Posted],
    *,
    clock: "_Clock",
    rate: float | None,
) -> None:
    for number in waiting:
        due = clock.now()
        if rate is not None:
            due = clock.start + number / rate
            await asyncio.sleep(max(0.0, due - clock.now()))
        body = bodies[number]
        answer = await line.ask(b"%b%d\r\n\r\n%b" % (head, len(body), body))
        posts[number] = Posted(due, clock.now() - due, *answer)


class _Clock:
    """Unix time that does not jump."""

    def __init__(self) -> None:
        self._offset = time.time() - time.perf_counter()
        self.start = self.now()

    def now(self) -> float:
        return self._offset + time.perf_counter()


class _Line:
    """A connection, and the next one when the server has closed it."""

    def __init__(self, target: SplitResult) -> None:
        self._target = target
        self._connection: _Connection | None = None

    async def open(self) -> "_Connection":
        _, connection = await asyncio.get_running_loop().create_connection(
            _Connection, self._target.hostname or "", self._target.port or 80
        )
        self._connection = connection
        return connection

    async def ask(self, request: bytes) -> _Answer:
        connection = self._connection
        if connection is None or connection.is_closing:
            connection = await self.open()
        return await connection.ask(request)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport | None = None
        self._answer: asyncio.Future[_Answer] | None = None
        self._received = bytearray()

    @property
    def is_closing(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    async def ask(self, request: bytes) -> _Answer:
        if self._transport is None:  # closed as soon as it was opened
            return NO_ANSWER, b""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream's transport is a WriteTransport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the reason makes no difference
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((NO_ANSWER, b""))

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0 or self._answer is None or self._answer.done():
            return
        head = bytes(self._received[: end + 2])
        status, length = _HEAD.match(head), _LENGTH.search(head)
        if status is None or length is None:
            self._answer.set_exception(Unreadable(f"no HTTP/1.1 answer with a Content-Length: {head[:200]!r}"))
        elif len(self._received) >= end + 4 + int(length[1]):
            body = bytes(self._received[end + 4 :])
            self._received.clear()
            if _CLOSE.search(head):
                self.close()
            self._answer.set_result((int(status[1]), body))


def _head(target: SplitResult, headers: Mapping[str, str]) -> bytes:
    path = target.path or "/"
    lines = [
        f"POST {path}{'?' + target.query if target.query else ''} HTTP/1.1",
        f"Host: {target.netloc}",
        *(f"{name}: {value}" for name, value in headers.items()),
        "Content-Length: ",
    ]
    return "\r\n".join(lines).encode()
