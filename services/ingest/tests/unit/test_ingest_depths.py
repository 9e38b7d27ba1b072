"""The look at the broker goes on whatever it meets; without it nothing would ever be refused again."""

import asyncio
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.shards import SHARDS
from mailwarren.contracts.topology import Topology
from mailwarren.ingest.adapters import depths as module
from mailwarren.ingest.adapters.depths import KEPT, SILENT, Depths
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


async def test_a_trouble_that_lasts_is_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ALARM_EVERY", 0.0)
    depths = Depths(Link("amqp://x/", "test"), Topology(), 0.01, "http://localhost:15672x")
    with capture_logs() as lines:
        following = asyncio.create_task(depths.follow())
        await asyncio.sleep(0.2)
        following.cancel()
        await asyncio.wait([following])
    assert [line["of"] for line in lines if line["event"] == "ingest.depths.trouble"] == ["management"]


class Broker:
    """What a broker says to a passive declare: 7 messages everywhere, but some queues say nothing."""

    def __init__(self, *silent: str) -> None:
        self.silent = set(silent)
        self.asked: list[str] = []

    async def depth(self, name: str) -> float:
        self.asked.append(name)
        if name in self.silent:
            raise TimeoutError
        return 7


def looking(broker: Broker, interval: float = 60.0) -> Depths:
    depths = Depths(Link("amqp://x/", "test"), Topology(), interval)
    depths._depth = broker.depth  # type: ignore[method-assign]  # the one line that speaks to a broker
    return depths


async def look(depths: Depths) -> None:
    await depths._look()
    depths._take_stock()


async def test_a_queue_without_an_answer_hides_no_other_and_is_not_asked_again_at_once() -> None:
    topology = Topology()
    silent = topology.send_queue(Lane.HIGH, "google").name
    broker = Broker(silent)
    depths = looking(broker)
    for _ in range(3):
        await look(depths)
    assert broker.asked.count(silent) == 1
    assert (Lane.HIGH, "google") not in depths.state.send
    assert depths.state.send[Lane.BULK, "google"] == 7
    assert (depths.state.accepted, depths.state.events) == (dict.fromkeys(Lane, 7), 16 * 7)
    assert REGISTRY.get_sample_value("mailwarren_ingest_unknown_depths") == 1


async def test_when_many_queues_say_nothing_each_look_ends_soon_and_the_others_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SILENT_PAUSE", 0.0)
    topology = Topology()
    silent = {topology.send_queue(Lane.HIGH, shard).name for shard in SHARDS}
    broker = Broker(*silent)
    depths = looking(broker)
    for _ in range(6):
        broker.asked.clear()
        await look(depths)
        assert len(silent & set(broker.asked)) <= SILENT
    # Asked first, once it is known who says nothing.
    assert silent.isdisjoint(broker.asked[:-SILENT])
    assert len(depths.state.send) == 2 * len(SHARDS)
    assert (depths.state.accepted, depths.state.events) == (dict.fromkeys(Lane, 7), 16 * 7)


async def test_a_depth_that_is_too_old_is_unknown() -> None:
    broker = Broker()
    depths = looking(broker, interval=0.01)
    await look(depths)
    assert depths.state.send[Lane.HIGH, "google"] == 7
    broker.silent = set(broker.asked)
    await asyncio.sleep(KEPT * 0.01 + 0.05)
    # Also when the look itself hangs.
    assert depths.state.send == {}
    await look(depths)
    assert depths.state.send == depths.state.accepted == {}
    assert REGISTRY.get_sample_value("mailwarren_ingest_unknown_depths") == len(set(broker.asked))
