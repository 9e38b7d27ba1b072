"""The ASGI application: FastAPI's router and documentation page around our endpoints, and request ids."""

import re
from collections.abc import Mapping, MutableMapping
from importlib.metadata import version
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.routing import Route

from mailwarren.ingest.api.attachments import download_route
from mailwarren.ingest.api.docs import openapi
from mailwarren.ingest.api.endpoint import REQUEST_ID, SPAN, EndpointApp, Receive, Scope, Send
from mailwarren.ingest.api.errors import error_body, on_http_exception
from mailwarren.ingest.api.health import health_routes
from mailwarren.ingest.api.paths import canonical
from mailwarren.ingest.api.services import Services
from mailwarren.ingest.api.tables import ENDPOINTS
from mailwarren.ingest.domain.refusal import application_error
from mailwarren.ingest.pages.hits import hit_routes
from mailwarren.ingest.pages.routes import page_routes
from mailwarren.runtime import tracing
from mailwarren.runtime.traceparent import ANSWER, HEADER, new_traceparent, read_traceparent

log = structlog.get_logger()

_TRACEPARENT, _ANSWER = HEADER.encode(), ANSWER.encode()
_GIVEN = re.compile(rb"[A-Za-z0-9._-]{1,64}")


def make_app(services: Services) -> "RequestIds":
    """The application that uvicorn serves."""
    # The documentation page's script comes with us: a cluster, or a machine that tries the demo, may have no way out.
    app = FastAPIOffline(
        title="Mailwarren",
        redoc_url=None,
        static_url="/docs-static",
        exception_handlers={HTTPException: on_http_exception},
    )
    app.openapi = _openapi  # type: ignore[method-assign]  # FastAPI's documented way to replace it
    ours = {(endpoint.method, endpoint.path): EndpointApp(endpoint, services) for endpoint in ENDPOINTS}
    # In front of FastAPI's own routes: the router tries them in order.
    app.router.routes[:0] = [
        Route(_pattern(path), ours[method, path], methods=[method]) for method, path in sorted(ours, key=_precedence)
    ]
    app.router.routes.append(download_route(services))
    app.router.routes.extend(page_routes(services))
    app.router.routes.extend(hit_routes(services.tracked))
    app.router.routes.extend(health_routes(services.health))
    return RequestIds(app, {place: endpoint for place, endpoint in ours.items() if "{" not in place[1]})


def _pattern(path: str) -> str:
    """The router's form of a path. A contact's address may have slashes, which reach us decoded."""
    return path.replace("{contact}", "{contact:path}").replace("{id_or_email}", "{id_or_email:path}")


def _precedence(place: tuple[str, str]) -> tuple[int, list[bool]]:
    """The order in which the router tries paths: longer ones first, and words before what takes any word."""
    parts = place[1].split("/")
    return -len(parts), [part.startswith("{") for part in parts]


def _openapi() -> dict[str, Any]:
    """The document of our table, instead of FastAPI's of its own kind of routes."""
    return openapi(ENDPOINTS, version("mailwarren-ingest"))


class RequestIds:
    """Gives every request its trace, its id and its one path.

    The trace is that of the client's ``traceparent``, else a new one; the id the client's ``x-request-id`` when it is
    harmless, else the trace id. Both are bound to all log lines of the request and sent back (``traceresponse``,
    ``x-request-id``). What crashes outside of our endpoints ends here.

    Args:
        app: everything.
        direct: of it, the endpoints without a parameter in their paths, by method and path. They need nothing of what
            FastAPI's middleware and router do (an :class:`EndpointApp` answers its own errors), which costs a single
            mail an eighth of its time.
    """

    def __init__(self, app: FastAPI, direct: Mapping[tuple[str, str], EndpointApp]) -> None:
        self._app = app
        self._direct = direct

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["path"] = canonical(scope["path"])
        given, trace = _told(scope)
        # Probes are no part of anybody's trace.
        kept = scope["path"].startswith("/v1/")
        with tracing.span("request", trace, "server") if kept else tracing.Passing(trace) as span:
            span.tell(http__request__method=scope["method"])
            scope[SPAN] = span
            if span.traceparent is None:
                span.traceparent = new_traceparent()
            await self._serve(scope, receive, send, (given, span.traceparent))

    async def _serve(self, scope: Scope, receive: Receive, send: Send, told: tuple[str | None, str]) -> None:
        given, traceparent = told
        trace_id = traceparent[3:35]
        ident = scope[REQUEST_ID] = given or trace_id
        ours = (b"x-request-id", ident.encode()), (_ANSWER, traceparent.encode())
        path = scope["path"]
        app = self._direct.get((scope["method"], path), self._app)
        started = False

        async def send_with_id(message: MutableMapping[str, Any]) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", ()), *ours]
            await send(message)

        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(trace_id=trace_id, request_id=ident)
        try:
            await app(scope, receive, send_with_id)
        except Exception:
            log.exception("ingest.app.crashed")
            scope[SPAN].fail("crashed")
            if not started:
                await _crashed(ident, send_with_id)


async def _crashed(ident: str, send: Send) -> None:
    refusal = application_error(ident)
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": error_body(refusal)})


def _told(scope: Scope) -> tuple[str | None, str | None]:
    """The request's id and its ``traceparent``, as far as the client gave them in their forms."""
    ident = trace = None
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _GIVEN.fullmatch(value):
            ident = value.decode()
        elif name == _TRACEPARENT:
            trace = read_traceparent(value.decode("latin-1"))
    return ident, trace
