"""The metrics and health port."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import structlog
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily

from mailwarren.runtime.health import Health, HealthServer


@pytest.fixture
def health() -> Health:
    return Health("test")


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def server(health, registry) -> Iterator[HealthServer]:
    with HealthServer(health, "127.0.0.1", 0, registry) as server:
        yield server


def get(server: HealthServer, path: str) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read()
    finally:
        connection.close()


def test_alive_as_long_as_it_answers(server, health) -> None:
    health.add("broker", lambda: "it is away")
    assert get(server, "/healthz")[0] == 200


def test_ready_when_every_check_holds(server, health) -> None:
    reasons = {"broker": None, "database": "there is no such database"}
    health.add("broker", lambda: reasons["broker"])
    health.add("database", lambda: reasons["database"])
    status, kind, body = get(server, "/readyz")
    told = {"broker": True, "database": False, "reasons": {"database": "there is no such database"}}
    assert (status, kind, json.loads(body)) == (503, "application/json", told)
    reasons["database"] = None
    status, _, body = get(server, "/readyz")
    assert (status, json.loads(body)) == (200, {"broker": True, "database": True})


def test_ready_when_there_is_nothing_to_check(server) -> None:
    assert get(server, "/readyz")[0] == 200


def test_a_check_that_raises_does_not_hold(server, health) -> None:
    health.add("broken", lambda: str(1 / 0))
    status, _, body = get(server, "/readyz")
    told = {"broken": False, "reasons": {"broken": "the check failed: ZeroDivisionError"}}
    assert (status, json.loads(body)) == (503, told)
    assert get(server, "/healthz")[0] == 200


def test_the_log_tells_each_change_once(health, monkeypatch) -> None:
    monkeypatch.setattr("mailwarren.runtime.health.LOOK_EVERY", 0.05)
    reasons = {"broker": None}
    with structlog.testing.capture_logs() as lines:
        health = Health("test")
        health.add("broker", lambda: reasons["broker"])
        with HealthServer(health, "127.0.0.1", 0, CollectorRegistry()):
            for reason in ("away", "away", "refused", None):
                reasons["broker"] = reason
                time.sleep(0.4)
        told = [(line["event"], line.get("reasons")) for line in lines]
    assert told == [
        ("test.not_ready", {"broker": "away"}),
        ("test.not_ready", {"broker": "refused"}),
        ("test.ready", None),
    ]


def test_metrics_come_from_the_registry(server, registry) -> None:
    Counter("mailwarren_test_things", "Things.", ["kind"], registry=registry).labels("x").inc(3)
    status, kind, body = get(server, "/metrics?name=all")
    assert status == 200
    assert kind.startswith("text/plain")
    assert b'mailwarren_test_things_total{kind="x"} 3.0' in body


def test_a_collector_that_raises_costs_that_scrape_only(server, registry) -> None:
    class Broken:
        broken = True

        def collect(self) -> list[GaugeMetricFamily]:
            if self.broken:
                raise RuntimeError("no numbers")
            return []

    collector = Broken()
    collector.broken = False
    registry.register(collector)
    collector.broken = True
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        get(server, "/metrics")
    assert get(server, "/healthz")[0] == 200


def test_another_path_says_which_there_are(server) -> None:
    status, _, body = get(server, "/secret")
    assert (status, body) == (404, b"/metrics /healthz /readyz\n")


def test_it_answers_while_clients_hang_and_the_service_is_busy(server) -> None:
    idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(5)]
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            sum(range(1000))

    worker = threading.Thread(target=busy)
    worker.start()
    try:
        begin = time.monotonic()
        assert get(server, "/healthz")[0] == 200
        assert time.monotonic() - begin < 5
    finally:
        stop.set()
        worker.join()
        for connection in idle:
            connection.close()


def test_a_client_that_sends_rubbish_harms_nobody(server, capfd) -> None:
    for words in (b"\x00" * 1000 + b"\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b""):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(words)
    assert get(server, "/healthz")[0] == 200
    assert capfd.readouterr().err == ""


def test_a_closed_server_gives_its_port_back(health) -> None:
    server = HealthServer(health, "127.0.0.1", 0)
    port = server.port
    server.close()
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))
    assert not [thread for thread in threading.enumerate() if thread.name == "health"]


def test_a_port_in_use_is_an_error_at_the_start(server, health) -> None:
    with pytest.raises(OSError, match="in use"):
        HealthServer(health, "127.0.0.1", server.port)
