"""Reading a request's body with a limit that holds while it streams in."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from mailwarren.ingest.domain.refusal import malformed, too_large

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

PATIENCE = 4
"""A body up to so many times the limit is read to its end and thrown away, because most clients look at the answer
only after they have sent everything; beyond, the connection is closed under the client."""


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
    if declared is not None:
        if not declared.isdigit():
            raise malformed("The Content-Length header is not a number.")
        if int(declared) > limit * PATIENCE:
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
