"""A DNS server of the test's own, over UDP and TCP: what it answers can be changed at any moment."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dnslib import CNAME, MX, QTYPE, RCODE, RR, TXT, A
from dnslib.server import DNSLogger, DNSServer

LARGEST = 512
"""Octets of an answer over UDP; longer ones are cut short, and asked for again over TCP."""
STRING = 255
"""Octets of one string of a TXT record."""


class PrivateDns:
    """Names and their records. ``broken`` ones get SERVFAIL, ``silent`` ones no answer for a while."""

    def __init__(self) -> None:
        self.records: dict[str, list[RR]] = {}
        self.broken: set[str] = set()
        self.silent: set[str] = set()
        self.asked: Counter[tuple[str, str]] = Counter()
        self.address = ""

    def text(self, name: str, *values: str, string: int = STRING) -> None:
        """The TXT records of a name from now on, each cut into strings."""
        self.remove(name, "TXT")
        for value in values:
            octets = value.encode()
            strings = [octets[start : start + string] for start in range(0, len(octets), string)] or [b""]
            self._add(name, RR(name, QTYPE.TXT, rdata=TXT(strings), ttl=60))

    def exchange(self, name: str, *values: tuple[int, str]) -> None:
        """The MX records of a name from now on."""
        self.remove(name, "MX")
        for preference, host in values:
            self._add(name, RR(name, QTYPE.MX, rdata=MX(host, preference), ttl=60))

    def host(self, name: str, address: str) -> None:
        """The IPv4 address of a name from now on."""
        self.remove(name, "A")
        self._add(name, RR(name, QTYPE.A, rdata=A(address), ttl=60))

    def alias(self, name: str, target: str) -> None:
        """The name is another's from now on."""
        self.remove(name)
        self._add(name, RR(name, QTYPE.CNAME, rdata=CNAME(target), ttl=60))

    def publish(self, records: list[dict[str, Any]]) -> None:
        """The records of a domain as the API lists them."""
        for record in records:
            if record["type"] == "MX":
                self.exchange(record["name"], (record["priority"], record["value"]))
            elif record["type"] == "CNAME":
                self.alias(record["name"], record["value"])
            else:
                self.text(record["name"], record["value"])

    def remove(self, name: str, kind: str | None = None) -> None:
        """Take the records of a name away."""
        kept = [one for one in self.records.pop(name, []) if kind is not None and QTYPE[one.rtype] != kind]
        if kept:
            self.records[name] = kept

    def resolve(self, request: Any, handler: Any) -> Any:
        """dnslib's hook."""
        reply = self._answer(request)
        # dnslib's own way leaves the question out, and then it answers none.
        if handler.protocol == "udp" and len(reply.pack()) > LARGEST:
            reply.rr.clear()
            reply.header.tc = 1
        return reply

    def _answer(self, request: Any) -> Any:
        name, kind = str(request.q.qname).rstrip(".").lower(), QTYPE[request.q.qtype]
        self.asked[name, kind] += 1
        reply = request.reply()
        if name in self.silent:
            time.sleep(1.0)
        if name in self.broken:
            reply.header.rcode = RCODE.SERVFAIL
            return reply
        for _ in range(8):
            records = self.records.get(name, [])
            if not records:
                reply.header.rcode = RCODE.NXDOMAIN
            reply.add_answer(*(one for one in records if QTYPE[one.rtype] in {kind, "CNAME"}))
            aliases = [one for one in records if QTYPE[one.rtype] == "CNAME"]
            if not aliases:
                break
            name = str(aliases[0].rdata.label).rstrip(".").lower()
        return reply

    def _add(self, name: str, record: RR) -> None:
        self.records.setdefault(name, []).append(record)


def _servers(dns: PrivateDns) -> tuple[DNSServer, DNSServer]:
    """Over UDP and TCP, on one port that is free for both."""
    quiet = DNSLogger(log="-recv,-send,-request,-reply,-error,-truncated,-data")
    for _ in range(20):
        udp = DNSServer(dns, address="127.0.0.1", port=0, logger=quiet)
        port = udp.server.server_address[1]
        try:
            return udp, DNSServer(dns, address="127.0.0.1", port=port, logger=quiet, tcp=True)
        except OSError:
            udp.server.server_close()
    raise RuntimeError("no port is free for UDP and TCP")


@contextmanager
def private_dns() -> Iterator[PrivateDns]:
    """A server that runs."""
    dns = PrivateDns()
    servers = _servers(dns)
    dns.address = f"127.0.0.1:{servers[0].server.server_address[1]}"
    for server in servers:
        server.start_thread()
    try:
        yield dns
    finally:
        for server in servers:
            server.server.shutdown()
            server.server.server_close()
            server.thread.join()
