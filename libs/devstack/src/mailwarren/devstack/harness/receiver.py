"""An HTTP server that keeps what is posted to it: stands where Sentry or an OpenTelemetry collector would."""

import gzip
import json
import threading
import zlib
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from typing import Any, Self


@dataclass(frozen=True)
class Posted:
    """A request as it came, its body unpacked."""

    path: str
    headers: dict[str, str]
    body: bytes

    def envelope(self) -> list[tuple[dict[str, Any], Any]]:
        """The items of a Sentry envelope: header and payload, both JSON, a line each."""
        lines = self.body.split(b"\n")[1:]
        return [(json.loads(head), json.loads(body)) for head, body in zip(lines[::2], lines[1::2], strict=False)]


class Receiver:
    """Listens on a free loopback port while it is entered, and answers 200 with an empty JSON object."""

    def __init__(self) -> None:
        self.posted: list[Posted] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        posted = self.posted

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                encoding = self.headers.get("content-encoding")
                if encoding == "gzip":
                    body = gzip.decompress(body)
                elif encoding == "deflate":
                    body = zlib.decompress(body)
                elif encoding == "br":
                    # Sentry's client takes it where it is installed.
                    body = import_module("brotli").decompress(body)
                posted.append(Posted(self.path, dict(self.headers), body))
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                """Not on the test's output."""

        return Handler
