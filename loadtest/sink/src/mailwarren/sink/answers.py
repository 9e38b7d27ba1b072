"""What the HTTP side's answers have in common."""

from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

SLICE = 2000
"""Lines of a stream that are made at once, before the loop is free for others."""

NO_LIMIT = 1 << 62
NDJSON = "application/x-ndjson"

encoder = msgspec.json.Encoder()


def answer(value: Any, status: int = 200) -> Response:
    """A value as JSON."""
    return Response(encoder.encode(value), status, media_type="application/json")


async def refused(_request: Request, error: Exception) -> Response:
    """What went wrong, as JSON."""
    # Starlette's type is wider than what it is registered for.
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else "internal error"
    return answer({"error": detail}, status)


def number(request: Request, name: str, default: int, *, least: int = 0, most: int = NO_LIMIT) -> int:
    """A whole number out of the query.

    Raises:
        HTTPException: 422, when it is none, or out of range.
    """
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal()):
        raise HTTPException(422, f"{name} must be a whole number, not {text!r}")
    if not least <= int(text) <= most:
        raise HTTPException(422, f"{name} must be from {least} to {most}, not {text}")
    return int(text)
