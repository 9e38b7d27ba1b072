"""The look at the broker goes on whatever it meets; without it nothing would ever be refused again."""

import asyncio
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from mailwarren.contracts.topology import Topology
from mailwarren.ingest.adapters.depths import Depths
from mailwarren.runtime.amqp import Link


class Somebody(BaseHTTPRequestHandler):
    """Another server than RabbitMQ's management: JSON, but not a list of nodes."""

    def do_GET(self) -> None:
        body = b'{"error": "not_authorised"}'
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.mark.parametrize("kind", ["no URL", "another server"])
async def test_a_wrong_management_url_does_not_end_it(kind: str) -> None:
    url, server = "http://guest:guest@localhost:15672x", None
    if kind == "another server":
        server = HTTPServer(("127.0.0.1", 0), Somebody)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
    following = asyncio.create_task(Depths(Link("amqp://x/", "test"), Topology(), 0.05, url).follow())
    await asyncio.sleep(0.4)
    assert not following.done()
    following.cancel()
    await asyncio.wait([following])
    if server:
        server.shutdown()
        server.server_close()
