"""Whole systems of real processes, one for a test."""

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from dnslib import RCODE, DNSRecord
from dnslib.server import DNSHandler, DNSLogger, DNSServer
from dnslib.zoneresolver import ZoneResolver

from mailwarren.contracts.lanes import Lane
from mailwarren.devstack.harness.counts import Promise
from mailwarren.devstack.harness.system import System


def _run(system: System, request: pytest.FixtureRequest) -> Iterator[System]:
    system.prepare()
    try:
        yield system
    finally:
        failed = getattr(request.node, "failed", False)
        system.close()
        if failed:
            print(system.logs())


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.when == "call":
        item.failed = report.failed  # type: ignore[attr-defined]


@pytest.fixture
def system(
    tmp_path: Path, rabbitmq: Any, postgres: Any, amqp_prefix: str, request: pytest.FixtureRequest
) -> Iterator[System]:
    """Against the servers that all tests share."""
    made = System(tmp_path, amqp_url=rabbitmq.amqp_url, database_url=postgres.database_url, prefix=amqp_prefix)
    yield from _run(made, request)


@pytest.fixture(scope="module")
def module_system(
    tmp_path_factory: pytest.TempPathFactory,
    rabbitmq: Any,
    postgres: Any,
    amqp_prefix: str,
    request: pytest.FixtureRequest,
) -> Iterator[System]:
    """One for all tests of a module, which then may not use ``system``: they would share their queues."""
    root = tmp_path_factory.mktemp("system")
    made = System(root, amqp_url=rabbitmq.amqp_url, database_url=postgres.database_url, prefix=amqp_prefix)
    yield from _run(made, request)


@pytest.fixture
def system_with_own_broker(
    tmp_path: Path, own_rabbitmq: Any, postgres: Any, request: pytest.FixtureRequest
) -> Iterator[System]:
    """Against a broker that the test may stop."""
    yield from _run(System(tmp_path, amqp_url=own_rabbitmq.amqp_url, database_url=postgres.database_url), request)


@pytest.fixture
def system_with_own_postgres(
    tmp_path: Path, rabbitmq: Any, own_postgres: Any, amqp_prefix: str, request: pytest.FixtureRequest
) -> Iterator[System]:
    """Against a Postgres that the test may stop."""
    made = System(tmp_path, amqp_url=rabbitmq.amqp_url, database_url=own_postgres.database_url, prefix=amqp_prefix)
    yield from _run(made, request)


class Zone(ZoneResolver):
    """A name with other records exists: NOERROR without an answer, where the library says NXDOMAIN (RFC 2308 §2)."""

    def resolve(self, request: DNSRecord, handler: DNSHandler) -> DNSRecord:
        reply = super().resolve(request, handler)
        if any(str(request.q.qname).lower() == str(name).lower() for name, _, _ in self.zone):
            reply.header.rcode = RCODE.NOERROR
        return reply


@pytest.fixture
def name_server() -> Iterator[Callable[[str], str]]:
    """Serves a zone on loopback; returns ``address:port``."""
    servers: list[DNSServer] = []

    def serve(zone: str) -> str:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = DNSServer(Zone(zone), address="127.0.0.1", port=port, logger=DNSLogger("-request,-reply"))
        threading.Thread(target=server.server.serve_forever, args=(0.05,), daemon=True).start()
        servers.append(server)
        return f"127.0.0.1:{port}"

    yield serve
    for server in servers:
        server.stop()
        server.server.server_close()


@dataclass
class Direct:
    """A system that sends to the recipients' own hosts."""

    system: System
    env: dict[str, str]
    shaping: Path

    def sender(self, name: str, *lanes: Lane, wait: bool = False, **env: str) -> None:
        """Start one, for these lanes or for all."""
        self.system.start_sender(name, lanes or tuple(Lane), wait=wait, env=self.env | env)

    def send_all(self, count: int, domains: list[str]) -> list[Promise]:
        """Bulk calls of 5,000 recipients at most."""
        addresses = [f"u{n}@{domains[n % len(domains)]}" for n in range(count)]
        return [one for at in range(0, count, 5000) for one in self.system.send_bulk(addresses[at : at + 5000])]


@pytest.fixture
def direct(system: System, name_server: Callable[[str], str], tmp_path: Path) -> Callable[..., Direct]:
    """Starts all but the senders, with these rows."""

    def start(rows: str, zone: str) -> Direct:
        system.start_sink()
        system.start_tracker(wait=False)
        system.start_ingest(wait=False)
        shaping = tmp_path / "shaping.toml"
        shaping.write_text(rows)
        port = system.smtp_url.rpartition(":")[2]
        env = {
            "MAILWARREN_SMTP_URL": "",
            "MAILWARREN_RESOLVER": name_server(zone),
            "MAILWARREN_MX_PORT": port,
            "MAILWARREN_PRIVATE_MX": "true",
            "MAILWARREN_SHAPING_FILE": str(shaping),
        }
        return Direct(system, env, shaping)

    return start
