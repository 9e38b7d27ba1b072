"""A fleet that sends to mail hosts itself, from addresses of its own: names, hosts and egresses for it.

It has the shards of some providers to itself, so that no mail of theirs goes through the smarthost.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from dnslib import RCODE, DNSRecord
from dnslib.server import DNSHandler, DNSLogger, DNSServer
from dnslib.zoneresolver import ZoneResolver

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.shards import SHARDS
from mailwarren.devstack.harness.system import System
from mailwarren.devstack.ports import free_ports

OWN = ("google", "yahoo", "apple")
OTHERS = tuple(shard for shard in SHARDS if shard not in OWN)
BROKEN, WELL = "127.0.0.2", "127.0.0.3"
"""Hosts of the sink: one whose TLS breaks, and one whose TLS works. The smarthost offers none."""
ZONE = f"""
gmail.com.                     60 IN MX 10 mx.well.test.
googlemail.com.                60 IN MX 10 mx.well.test.
me.com.                        60 IN MX 10 mx.well.test.
_mta-sts.me.com.               60 IN TXT "v=STSv1; id=1"
mta-sts.me.com.                60 IN A  127.0.0.1
icloud.com.                    60 IN MX 10 mx.broken.test.
yahoo.com.                     60 IN MX 10 mta.test.yahoodns.net.
mx.well.test.                  60 IN A  {WELL}
mx.broken.test.                60 IN A  {BROKEN}
mta.test.yahoodns.net.         60 IN A  {WELL}
"""
ROWS = '[default]\nrate = "none"\nconnection_rate = "none"\n'
NUMBER = 2
EGRESSES = f"""
[egresses.warm]
helo = "warm.sender.test"
ipv4 = "127.0.0.21"
[egresses.new]
helo = "new.sender.test"
ipv4 = "127.0.0.22"
warm_up = {{{{ since = {{yesterday}}, curve = "small" }}}}
[egresses.elsewhere]
helo = "elsewhere.sender.test"
ipv4 = "192.0.2.1"
[curves.small]
days = [{NUMBER}, {NUMBER}, {NUMBER}]
[pools]
default = {{{{ new = 1 }}}}
high = {{{{ warm = 1, elsewhere = 1 }}}}
[[routes]]
lanes = ["high"]
pool = "high"
"""
NOBODY = {"stage": "rcpt", "code": 550, "enhanced": "5.1.1", "text": "no such user"}
SLOW_DOWN = {"stage": "rcpt", "code": 421, "enhanced": "4.7.0", "text": "[TSS04] wait"}
PERSONAS: tuple[dict[str, Any], ...] = (
    {"domains": ["googlemail.com"], "rules": [NOBODY]},
    {"domains": ["yahoo.com"], "rules": [SLOW_DOWN]},
    {"hosts": ["127.0.0.1"], "tls": "none"},
    {"hosts": [BROKEN], "tls": "broken"},
)


class Zone(ZoneResolver):
    """A name with other records exists: NOERROR without an answer, where the library says NXDOMAIN (RFC 2308 §2)."""

    def resolve(self, request: DNSRecord, handler: DNSHandler) -> DNSRecord:
        reply = super().resolve(request, handler)
        if any(str(request.q.qname).lower() == str(name).lower() for name, _, _ in self.zone):
            reply.header.rcode = RCODE.NOERROR
        return reply


@contextlib.contextmanager
def name_server() -> Iterator[str]:
    """Serves :data:`ZONE`; gives ``address:port``."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = DNSServer(Zone(ZONE), address="127.0.0.1", port=port, logger=DNSLogger("-request,-reply"))
    threading.Thread(target=server.server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop()
        server.server.server_close()


def sink_arguments() -> tuple[str, ...]:
    """A sink that is three mail hosts on one port, as MX hosts are."""
    (port,) = free_ports(1)
    hosts = (argument for host in (BROKEN, WELL) for argument in ("--smtp-extra", f"{host}:{port}"))
    return ("--tls", "--smtp", f"127.0.0.1:{port}", *hosts)


def start_direct(system: System, resolver: str, env: dict[str, str]) -> None:
    """The fleet ``direct``."""
    rows, egresses = system.root / "direct-shaping.toml", system.root / "egresses.toml"
    rows.write_text(ROWS)
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date()
    egresses.write_text(EGRESSES.format(yesterday=yesterday))
    own = {
        "MAILWARREN_SMTP_URL": "",
        "MAILWARREN_RESOLVER": resolver,
        "MAILWARREN_MX_PORT": system.smtp_url.rpartition(":")[2],
        "MAILWARREN_PRIVATE_MX": "true",
        "MAILWARREN_SHAPING_FILE": str(rows),
        "MAILWARREN_EGRESS_FILE": str(egresses),
    }
    system.start_sender("direct", shards=OWN, wait=False, env=env | own)


def send_direct(system: System, number: int) -> None:
    """From a warm egress to hosts of all kinds; from a new one more than its number of the day."""
    domains = ("gmail.com", "googlemail.com", "me.com", "icloud.com")
    system.send_bulk([f"direct{number}@{domain}" for domain in domains], lane=Lane.HIGH)
    system.send(f"encrypted{number}@icloud.com", priority="high", tls="required").raise_for_status()
    system.send_bulk([f"new{number}{one}@gmail.com" for one in range(NUMBER + 1)], lane=Lane.NORMAL)
    if number == 1:
        system.send("slower@yahoo.com", priority="high").raise_for_status()
