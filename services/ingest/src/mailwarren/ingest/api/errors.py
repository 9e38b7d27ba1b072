"""Errors on the wire: ``{"statusCode", "name", "message"}``, always JSON, whatever went wrong."""

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mailwarren.ingest.domain.refusal import Refusal, method_not_allowed, not_found
from mailwarren.ingest.metrics import record_refused

Headers = tuple[tuple[bytes, bytes], ...]


class ErrorBody(msgspec.Struct, kw_only=True, rename={"status_code": "statusCode"}):
    """Every answer with a status of 400 or more."""

    status_code: int
    name: str
    message: str


def error_body(refusal: Refusal) -> bytes:
    """The JSON of a refusal."""
    return msgspec.json.encode(ErrorBody(status_code=refusal.status, name=refusal.name.wire, message=refusal.message))


def error_headers(refusal: Refusal) -> Headers:
    """``Retry-After`` where waiting helps; who is not heard out, as with a 413, has the connection closed."""
    headers: list[tuple[bytes, bytes]] = []
    if refusal.retry_after is not None:
        headers.append((b"retry-after", str(refusal.retry_after).encode()))
    if refusal.close or refusal.status == 413:  # noqa: PLR2004
        headers.append((b"connection", b"close"))
    return tuple(headers)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """What the router refuses: an unknown path, a wrong method."""
    status = error.status_code if isinstance(error, HTTPException) else 404
    if status == 405:  # noqa: PLR2004
        allowed = _allowed(request)
        refusal = method_not_allowed(request.method, allowed)
        headers = {"Allow": allowed}
    else:
        refusal = not_found(f"There is nothing at {request.url.path[:200]}. The endpoints are listed at /docs.")
        headers = {}
    record_refused(refusal.name.value)
    return Response(error_body(refusal), refusal.status, headers, "application/json")


def _allowed(request: Request) -> str:
    # The router names the methods of the first route of a path only.
    found: set[str] = set()
    for route in request.app.router.routes:
        if isinstance(route, Route) and route.path_regex.match(request.url.path):
            found |= route.methods or set()
    return ", ".join(sorted(found))
