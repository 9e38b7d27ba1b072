"""The metrics and health port: ``/metrics``, ``/healthz`` (alive) and ``/readyz`` (able to do its work, or why not).

Served from a thread of its own, so that it answers while the service is busy. The same thread logs when the service
becomes ready, stops being ready, or is not ready for another reason than before.
"""

import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, Self

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest

from mailwarren.runtime.metrics import record_checks

log = structlog.get_logger()

IDLE = 10
"""Seconds that a client may keep its thread waiting."""

LOOK_EVERY = 1.0
"""Seconds between two looks for the log; also what a start may take before the log says that it is not ready."""

Check = Callable[[], str | None]
"""Why something does not hold, in words for a person without secrets; None when it does."""


@dataclass(frozen=True, slots=True)
class Report:
    """The state of every check."""

    checks: dict[str, bool]
    reasons: dict[str, str]
    """Why, for those that do not hold."""

    @property
    def ready(self) -> bool:
        """All hold."""
        return not self.reasons

    @property
    def shown(self) -> dict[str, Any]:
        """As JSON: a truth value for each check, and ``reasons`` when some do not hold."""
        return {**self.checks, "reasons": self.reasons} if self.reasons else dict(self.checks)


class Health:
    """Named readiness checks, each a cheap function without I/O.

    Args:
        service: begins the names of the log's events: ``<service>.ready`` and ``<service>.not_ready``.
    """

    def __init__(self, service: str) -> None:
        self._service = service
        self._checks: dict[str, Check] = {}
        self._look_at = time.monotonic() + LOOK_EVERY
        self._told: dict[str, str] | None = None

    def add(self, name: str, check: Check) -> None:
        """Readiness from now on needs ``check()`` to give no reason against it."""
        self._checks[name] = check

    def report(self) -> Report:
        """The state of every check; one that raises does not hold."""
        found = {name: _reason(name, check) for name, check in list(self._checks.items())}
        return Report(
            {name: reason is None for name, reason in found.items()},
            {name: reason for name, reason in found.items() if reason is not None},
        )

    def tell(self) -> None:
        """Log what has changed, now and then; for one thread."""
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK_EVERY
        reasons = self.report().reasons
        if reasons == self._told:
            return
        self._told = reasons
        event = f"{self._service}.{'not_ready' if reasons else 'ready'}"
        if reasons:
            log.warning(event, reasons=reasons)
        else:
            log.info(event)


def _reason(name: str, check: Check) -> str | None:
    try:
        return check()
    except Exception as error:
        log.exception("health.check.raised", check=name)
        return f"the check failed: {type(error).__name__}"


class HealthServer:
    """The HTTP server behind the port; use as a context manager or call :meth:`close`."""

    def __init__(self, health: Health, host: str, port: int, registry: CollectorRegistry = REGISTRY) -> None:
        self._server = _Server((host, port), _handler(health, registry))
        self._server.health = health
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="health", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=2)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    health: Health | None = None

    def service_actions(self) -> None:
        """Called by ``serve_forever`` at every turn."""
        if self.health is not None:
            self.health.tell()

    def server_bind(self) -> None:
        # HTTPServer would look up the host's name in DNS here, and wait for it where there is none.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, *_: object) -> None:
        """A probe that hangs up early is no news; anything else is logged, not printed."""
        error = sys.exception()
        if not isinstance(error, ConnectionError):
            log.error("health.request.failed", exc_info=error)


def _handler(health: Health, registry: CollectorRegistry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = IDLE

        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            if path == "/metrics":
                record_checks(health.report().checks)
                self._answer(200, CONTENT_TYPE_LATEST, generate_latest(registry))
            elif path == "/healthz":
                self._answer(200, "application/json", b'{"status":"alive"}')
            elif path == "/readyz":
                report = health.report()
                self._answer(200 if report.ready else 503, "application/json", json.dumps(report.shown).encode())
            else:
                self._answer(404, "text/plain", b"/metrics /healthz /readyz\n")

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Probes every few seconds are not worth a line."""

    return Handler
