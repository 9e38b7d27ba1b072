"""An endpoint: what stands at a path, for the router and for the OpenAPI document alike.

Endpoints are plain ASGI applications in the FastAPI router. They take the raw body, which the handlers decode with
msgspec; FastAPI's own wrapping costs about as much as all of our work on a single mail (``facts/speed.md`` §5).
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import structlog
from msgspec.structs import replace

from mailwarren.ingest.adapters.database import DatabaseDown
from mailwarren.ingest.api.auth import authenticate
from mailwarren.ingest.api.body import ClientGone, is_large, read_body, read_large, room_for_large
from mailwarren.ingest.api.errors import Headers, error_body, error_headers
from mailwarren.ingest.api.services import Services
from mailwarren.ingest.domain.keys import ApiKey
from mailwarren.ingest.domain.refusal import Refusal, application_error, unavailable
from mailwarren.ingest.domain.requests import Permission
from mailwarren.ingest.metrics import record_refused, record_request
from mailwarren.runtime.tracing import Span

log = structlog.get_logger()

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
JSON, FORM, CSV, ZIP = "application/json", "multipart/form-data", "text/csv", "application/zip"
REQUEST_ID = "mailwarren.request_id"
"""Where the request's id stands in the ASGI scope."""
SPAN = "mailwarren.span"
"""The same for its span."""
CALL = "mailwarren.call"
"""The same for the call, as soon as its caller is known."""


class Answer(msgspec.Struct, frozen=True):
    """An HTTP response with a JSON body, or with ``pieces`` of a file, read while they are sent.

    The pieces end early where they cannot be read any more, and the client sees that the answer is cut short.
    """

    status: int
    body: bytes
    headers: Headers = ()
    pieces: AsyncIterator[bytes] | None = None


class Call(msgspec.Struct, frozen=True):
    """A request of a known caller. ``headers`` have lower-case names."""

    key: ApiKey
    services: Services
    path: dict[str, str]
    headers: dict[bytes, bytes]
    query_string: bytes
    body: bytes
    trace: str | None = None
    """The request's ``traceparent``."""
    receive: Receive | None = None
    """Where the endpoint reads the body itself."""

    def header(self, name: str) -> str | None:
        """A header's value."""
        return _text(self.headers, name.encode())

    @property
    def query(self) -> dict[str, str]:
        """The query parameters."""
        return dict(parse_qsl(self.query_string.decode("latin-1"), keep_blank_values=True))


Handler = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path. ``request`` and ``answer`` are msgspec types; ``errors`` the statuses to document.

    ``also``: another status of the same answer, when what was to be made is there already.

    ``files``: a request may carry attachments, so a large one waits for memory instead of being refused.

    ``answer`` is None where every call is refused. ``takes`` and ``gives`` are media types; what is taken in another
    than JSON the handler reads as it comes in. A :data:`FORM` has a file, which may also come alone, as CSV.
    """

    name: str
    method: str
    path: str
    summary: str
    handler: Handler
    answer: Any
    status: int = 200
    request: Any = None
    permission: Permission = Permission.FULL
    description: str = ""
    headers: tuple[str, ...] = ()
    query: tuple[str, ...] = ()
    files: bool = False
    takes: str = JSON
    gives: str = JSON
    errors: tuple[int, ...] = field(default=())
    also: tuple[int, ...] = ()
    logged: bool = True
    """Whether its calls are shown by ``/v1/logs``."""


PAGE = ("limit", "after", "before")
"""Query parameters of a list."""
READING: dict[str, Any] = {"method": "GET", "errors": (401, 403, 404, 422, 503)}
"""What the endpoints that only read have in common."""
CHANGING: dict[str, Any] = {"method": "PATCH", "errors": (400, 401, 403, 404, 413, 422, 503)}
DELETING: dict[str, Any] = {"method": "DELETE", "errors": (401, 403, 404, 422, 503)}
MAKING: dict[str, Any] = {"method": "POST", "status": 201, "errors": (400, 401, 403, 404, 413, 422, 503)}


def answer(value: Any, status: int = 200) -> Answer:
    """``value`` as JSON."""
    return Answer(status, msgspec.json.encode(value))


class EndpointApp:
    """The ASGI application of an endpoint: authenticate, read, handle, answer; every error in one form."""

    def __init__(self, endpoint: Endpoint, services: Services) -> None:
        self._endpoint = endpoint
        self._services = services
        self._span_name = f"{endpoint.method} {endpoint.path}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        start = time.perf_counter()
        span: Span = scope[SPAN]
        span.name(self._span_name)
        try:
            done = await self._answer(scope, receive)
        except ClientGone:
            return
        span.tell(http__route=self._endpoint.path, http__response__status_code=done.status)
        if done.pieces is None:
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(done.body)).encode()),
                *done.headers,
            ]
            await send({"type": "http.response.start", "status": done.status, "headers": headers})
            await send({"type": "http.response.body", "body": done.body})
        else:
            await self._send_pieces(done, done.pieces, send)
        record_request(self._endpoint.name, done.status, time.perf_counter() - start)
        if self._endpoint.logged and (call := scope.get(CALL)) is not None:
            self._services.api_logs.add(
                call.key.tenant,
                call.key.id,
                method=self._endpoint.method,
                path=scope["path"],
                status=done.status,
                agent=call.header("user-agent"),
                request=call.body,
                response=done.body,
            )

    async def _send_pieces(self, done: Answer, pieces: AsyncIterator[bytes], send: Send) -> None:
        media = self._endpoint.gives
        charset = "; charset=utf-8" if media.startswith("text/") else ""
        headers = [(b"content-type", f"{media}{charset}".encode()), *done.headers]
        await send({"type": "http.response.start", "status": done.status, "headers": headers})
        try:
            async for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except DatabaseDown as error:
            log.warning("ingest.answer.cut_short", endpoint=self._endpoint.name, error=str(error))
            return
        await send({"type": "http.response.body", "body": b""})

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        try:
            return await self._handle(scope, receive)
        except Refusal as refusal:
            return _refused(refusal)
        except DatabaseDown as error:
            log.debug("ingest.request.no_database", endpoint=self._endpoint.name, error=str(error))
            return _refused(
                unavailable("The database cannot be reached right now; sending without an Idempotency-Key goes on.")
            )
        except ClientGone:
            raise
        except Exception:
            log.exception("ingest.request.crashed", endpoint=self._endpoint.name)
            return _refused(application_error(scope[REQUEST_ID]))

    async def _handle(self, scope: Scope, receive: Receive) -> Answer:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        key = await authenticate(_text(headers, b"authorization"), self._endpoint.permission, self._services.keys)
        if self._endpoint.request is None:
            return await self._endpoint.handler(self._call(scope, headers, key, b""))
        if self._endpoint.takes != JSON:
            return await self._endpoint.handler(replace(self._call(scope, headers, key, b""), receive=receive))
        declared, services = _text(headers, b"content-length"), self._services
        if self._endpoint.files and is_large(declared, services.max_body, services.max_with_files):
            async with room_for_large(services.large_bodies, int(declared or 0)):
                body = await read_large(receive, declared, services.max_with_files)
                return await self._endpoint.handler(self._call(scope, headers, key, body))
        body = await read_body(receive, declared, services.max_body)
        return await self._endpoint.handler(self._call(scope, headers, key, body))

    def _call(self, scope: Scope, headers: dict[bytes, bytes], key: ApiKey, body: bytes) -> Call:
        span: Span = scope[SPAN]
        call = scope[CALL] = Call(
            key, self._services, scope.get("path_params", {}), headers, scope["query_string"], body, span.traceparent
        )
        return call


def _text(headers: dict[bytes, bytes], name: bytes) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("latin-1")


def _refused(refusal: Refusal) -> Answer:
    record_refused(refusal.name.value)
    # Counted; a line for each would make an outage dearer. What is out says so once, where it is noticed.
    log.debug("ingest.request.refused", name=refusal.name.value, status=refusal.status)
    return Answer(refusal.status, error_body(refusal), error_headers(refusal))
