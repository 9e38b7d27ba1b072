"""Without a smarthost, mail goes to the recipients' own mail hosts, found through the resolver of the settings."""

import socket
from collections.abc import Iterator

import pytest
from dnslib import RCODE, DNSRecord
from dnslib.server import DNSHandler, DNSLogger, DNSServer
from dnslib.zoneresolver import ZoneResolver

from mailwarren.devstack.harness.system import System

pytestmark = pytest.mark.e2e

ZONE = """
good.test.      60 IN MX 10 mx.good.test.
mx.good.test.   60 IN A  127.0.0.1
bare.test.      60 IN A  127.0.0.1
null.test.      60 IN MX 0 .
"""


class Zone(ZoneResolver):
    """A name with other records exists: NOERROR without an answer, where the library says NXDOMAIN (RFC 2308 §2)."""

    def resolve(self, request: DNSRecord, handler: DNSHandler) -> DNSRecord:
        reply = super().resolve(request, handler)
        if any(str(request.q.qname).lower() == str(name).lower() for name, _, _ in self.zone):
            reply.header.rcode = RCODE.NOERROR
        return reply


@pytest.fixture
def resolver() -> Iterator[str]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = DNSServer(Zone(ZONE), address="127.0.0.1", port=port, logger=DNSLogger("-request,-reply"))
    server.start_thread()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop()
        server.server.server_close()


def test_each_domain_gets_what_its_dns_says(system: System, resolver: str) -> None:
    system.start_sink()
    system.start_tracker(wait=False)
    port = system.smtp_url.rpartition(":")[2]
    direct = {"MAILWARREN_SMTP_URL": "", "MAILWARREN_RESOLVER": resolver, "MAILWARREN_MX_PORT": port}
    system.start_sender(wait=False, env=direct)
    system.start_ingest()
    promises = system.send_bulk(["a@good.test", "b@bare.test", "c@null.test", "d@nowhere.test"])
    found = system.settle(promises, timeout=40)
    states = {address: state for (_, address), state in system.states(promises).items()}
    assert states == {
        "a@good.test": "delivered",
        "b@bare.test": "delivered",
        "c@null.test": "bounced",
        "d@nowhere.test": "bounced",
    }
    assert found.balanced, str(found)
    hosts = {row["site"] for row in system.query("select site from deliveries where state = 'delivered'")}
    assert hosts == {"good.test", "bare.test"}
    suppressed = {row["address"] for row in system.query("select address from suppressions")}
    assert suppressed == {"c@null.test", "d@nowhere.test"}
    assert system.api
    again = system.send("c@null.test")
    assert again.status_code == 200
    shown = system.api.get(f"/emails/{again.json()['id']}").json()
    assert shown["last_event"] == "suppressed"
