"""A name server for our own names, and mail hosts that note who came under which name."""

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvloop
from dnslib import AAAA, MX, PTR, QTYPE, RCODE, RR, TXT, A
from dnslib.server import DNSHandler, DNSLogger, DNSServer


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Callable[[], Any]]:
    """Addresses are bound on both loops: uvloop in production, asyncio where there is none."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@dataclass
class Names:
    """A name server; names in ``broken`` get SERVFAIL."""

    records: list[RR] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    address: str = ""

    def host(self, name: str, *addresses: str) -> None:
        """Addresses of a name, in place of those that it had."""
        self.records = [one for one in self.records if _plain(one.rname) != name or one.rtype not in _ADDRESSES]
        for address in addresses:
            kind, data = (QTYPE.AAAA, AAAA(address)) if ":" in address else (QTYPE.A, A(address))
            self.records.append(RR(name, kind, rdata=data, ttl=60))

    def reverse(self, name: str, target: str) -> None:
        """The name of a reverse name, ``10.2.0.192.in-addr.arpa``."""
        self.records.append(RR(name, QTYPE.PTR, rdata=PTR(target), ttl=60))

    def text(self, name: str, text: str) -> None:
        """A text of a name."""
        self.records.append(RR(name, QTYPE.TXT, rdata=TXT(text), ttl=60))

    def mx(self, domain: str, host: str) -> None:
        """The mail host of a domain."""
        self.records.append(RR(domain, QTYPE.MX, rdata=MX(host, 10), ttl=60))

    def resolve(self, request: Any, handler: DNSHandler) -> Any:
        """Answer one question."""
        name, kind = _plain(request.q.qname), QTYPE[request.q.qtype]
        self.asked[name, kind] += 1
        reply = request.reply()
        if name in self.broken:
            reply.header.rcode = RCODE.SERVFAIL
            return reply
        known = [record for record in self.records if _plain(record.rname) == name]
        if not known:
            reply.header.rcode = RCODE.NXDOMAIN
        reply.add_answer(*(record for record in known if QTYPE[record.rtype] == kind))
        return reply


_ADDRESSES = (QTYPE.A, QTYPE.AAAA)


def _plain(label: object) -> str:
    return str(label).rstrip(".").lower()


@pytest.fixture
def names() -> Iterator[Names]:
    names = Names()
    server = DNSServer(names, address="127.0.0.1", port=0, logger=DNSLogger("-request,-reply,-recv,-send,-error"))
    server.start_thread()
    names.address = f"127.0.0.1:{server.server.server_address[1]}"
    yield names
    server.server.shutdown()
    server.server.server_close()
    server.thread.join()


@dataclass
class MailHost:
    """A mail host that takes everything, and what it noted: from which address, under which name, how many mails."""

    port: int = 0
    came: Counter[tuple[str, str]] = field(default_factory=Counter)
    refused: set[str] = field(default_factory=set)
    """Addresses that are sent away with 554 at once."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        peer, helo = writer.get_extra_info("peername")[0], ""
        try:
            writer.write(b"554 5.7.1 your address is blocked\r\n" if peer in self.refused else b"220 here\r\n")
            while line := (await reader.readline()).decode().strip():
                verb, _, rest = line.partition(" ")
                helo = rest if verb == "EHLO" else helo
                if verb == "DATA":
                    writer.write(b"354 go on\r\n")
                    await reader.readuntil(b"\r\n.\r\n")
                    self.came[peer, helo] += 1
                writer.write(b"221 bye\r\n" if verb == "QUIT" else b"250 ok\r\n")
                if verb == "QUIT":
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            with contextlib.suppress(Exception):
                writer.close()


@pytest.fixture
async def mail_host() -> AsyncIterator[MailHost]:
    """It listens on 127.0.0.1, and on ::1 where this host has that."""
    host = MailHost()
    first = await asyncio.start_server(host.serve, "127.0.0.1", 0)
    host.port = first.sockets[0].getsockname()[1]
    servers = [first]
    if has_ipv6():
        servers.append(await asyncio.start_server(host.serve, "::1", host.port))
    yield host
    for server in servers:
        server.close()


def has_ipv6() -> bool:
    """Whether ::1 can be used here."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
