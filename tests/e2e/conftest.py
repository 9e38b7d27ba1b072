"""Whole systems of real processes, one for a test."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dnslib import RCODE, DNSRecord
from dnslib.server import DNSHandler, DNSLogger, DNSServer
from dnslib.zoneresolver import ZoneResolver

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
        server.start_thread()
        servers.append(server)
        return f"127.0.0.1:{port}"

    yield serve
    for server in servers:
        server.stop()
        server.server.server_close()
