"""Reading a request's body with a limit that holds while it streams in."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

from mailwarren.ingest.domain.refusal import malformed, too_large, too_slow, unavailable
from mailwarren.runtime.room import Room

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

PATIENCE = 4
"""A body up to so many times the limit is read to its end and thrown away, because most clients look at the answer
only after they have sent everything; beyond, the connection is closed under the client."""


COPIES = 2
"""What a large body takes of memory, in its own length: for a moment it is there in pieces and as a whole."""
WAIT_FOR_ROOM = 20.0
"""Seconds that a large body waits, unread, for others to be done with."""
LARGE_WITHIN = 120.0
"""Seconds in which a large body has to come in: it holds memory that others wait for."""


LONGEST_LENGTH = 18
"""Digits of a length that anything has."""


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


async def read_body(receive: Receive, declared: str | None, limit: int) -> bytes:
    """The body.

    Args:
        receive: ASGI.
        declared: the Content-Length header.
        limit: bytes.

    Raises:
        Refusal: 413 as soon as more than ``limit`` bytes have come, or are announced, and the client has been heard
            out; 400 for a Content-Length that is no number.
        ClientGone: it went away.
    """
    if declared is not None and length_of(declared) > limit * PATIENCE:
        raise too_large(limit)
    chunks: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        size += len(chunk)
        if size > limit * PATIENCE:
            raise too_large(limit)
        if size > limit:
            chunks.clear()
        else:
            chunks.append(chunk)
    if size > limit:
        raise too_large(limit)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def length_of(declared: str) -> int:
    """What a Content-Length header says.

    Raises:
        Refusal: 400, it is no number: of the characters that Unicode calls digits, ten are.
    """
    if not (declared.isascii() and declared.isdigit() and len(declared) <= LONGEST_LENGTH):
        raise malformed("The Content-Length header is not a number.")
    return int(declared)


def is_large(declared: str | None, most: int, most_with_files: int) -> bool:
    """Whether a request is longer than others may be, and not too long for one with attachments."""
    return declared is not None and most < length_of(declared) <= most_with_files


@asynccontextmanager
async def room_for_large(room: Room, declared: int) -> AsyncIterator[None]:
    """Inside, there is memory for a large body.

    Raises:
        Refusal: 503, there was none for a while.
    """
    try:
        async with asyncio.timeout(WAIT_FOR_ROOM):
            await room.enter(declared * COPIES)
    except TimeoutError as error:
        raise unavailable("Too many large requests at once. Nothing was accepted; try again.") from error
    try:
        yield
    finally:
        room.leave(declared * COPIES)


async def read_large(receive: Receive, declared: str | None, limit: int) -> bytes:
    """As :func:`read_body`, with a limit of time.

    Raises:
        Refusal: 408, it came too slowly.
    """
    try:
        async with asyncio.timeout(LARGE_WITHIN):
            return await read_body(receive, declared, limit)
    except TimeoutError as error:
        raise too_slow(LARGE_WITHIN) from error
