"""The metrics and health port: ``/metrics``, ``/healthz`` (alive) and ``/readyz`` (able to do its work).

Served from a thread of its own, so that it answers while the service is busy.
"""

import json
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Self

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest

log = structlog.get_logger()

IDLE = 10
"""Seconds that a client may keep its thread waiting."""

Check = Callable[[], bool]


class Health:
    """Named readiness checks, each a cheap function without I/O."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}

    def add(self, name: str, check: Check) -> None:
        """Readiness from now on needs ``check()`` to be true."""
        self._checks[name] = check

    def report(self) -> dict[str, bool]:
        """The state of every check; one that raises does not hold."""
        return {name: _holds(name, check) for name, check in list(self._checks.items())}


def _holds(name: str, check: Check) -> bool:
    try:
        return bool(check())
    except Exception:
        log.exception("health.check.raised", check=name)
        return False


class HealthServer:
    """The HTTP server behind the port; use as a context manager or call :meth:`close`."""

    def __init__(self, health: Health, host: str, port: int, registry: CollectorRegistry = REGISTRY) -> None:
        self._server = _Server((host, port), _handler(health, registry))
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
                self._answer(200, CONTENT_TYPE_LATEST, generate_latest(registry))
            elif path == "/healthz":
                self._answer(200, "application/json", b'{"status":"alive"}')
            elif path == "/readyz":
                report = health.report()
                self._answer(200 if all(report.values()) else 503, "application/json", json.dumps(report).encode())
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
