"""A sender from DNS to the dot, without its broker, in front of sinks whose TLS is as bad as can be."""

import asyncio
import contextlib
import os
import socket
import ssl
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import trustme
import uvloop
from dnslib import MX as MX_DATA
from dnslib import QTYPE, RCODE, RR, A
from dnslib import TXT as TXT_DATA
from dnslib.server import DNSHandler, DNSLogger, DNSServer

from mailwarren.contracts.testing import a_content, a_delivery, a_parcel
from mailwarren.contracts.tls import TlsNeed
from mailwarren.contracts.topology import Topology
from mailwarren.runtime.amqp import Link, Publisher
from mailwarren.sender.adapters.outcomes import OutcomeWriter
from mailwarren.sender.domain.in_force import InForce
from mailwarren.sender.rules.book import built_in
from mailwarren.sender.rules.replies import read_replies
from mailwarren.sender.rules.shaping import read_shaping
from mailwarren.sender.shaping.automation import Automation
from mailwarren.sender.shaping.roll import Roll
from mailwarren.sender.shaping.shaper import Shaper
from mailwarren.sender.shaping.shares import Shares
from mailwarren.sender.shaping.waiting import WaitingRoom
from mailwarren.sender.smtp import (
    BrokenTls,
    ClientSettings,
    Pool,
    Resolver,
    Routes,
    StsCache,
    Timeouts,
    TlsContexts,
)
from mailwarren.sender.transmit import Permit, Transmitter, Tried
from mailwarren.sink.server import Sink, running_sink

ANYBODY = Permit(lambda: True, lambda _: True, None)
QUICK = Timeouts(connect=3.0, tls=0.7, greeting=3.0, command=3.0, data_block=3.0, final_dot=3.0, quit=0.2)
ROWS = b"[default]\nrate = 'none'\nconnection_rate = 'none'\nmessages_per_connection = 1\n"
"""Each mail has a connection of its own."""


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Callable[[], Any]]:
    """The loop that senders run on; the dialogue's own tests run on both."""
    return {"uvloop": uvloop.new_event_loop}


@dataclass
class Zone:
    """A name server for ``.example``; names in ``broken`` get SERVFAIL."""

    records: list[RR] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    address: str = ""

    def mx(self, domain: str, *hosts: str) -> None:
        """Mail hosts of a domain, the best first."""
        self.records += [
            RR(domain, QTYPE.MX, rdata=MX_DATA(host, preference * 10), ttl=300)
            for preference, host in enumerate(hosts, 1)
        ]

    def a(self, host: str, address: str) -> None:
        """An address of a host."""
        self.records.append(RR(host, QTYPE.A, rdata=A(address), ttl=300))

    def txt(self, name: str, text: str | None) -> None:
        """The text of a name; None takes it away."""
        self.records = [one for one in self.records if not (one.rtype == QTYPE.TXT and _name(one.rname) == name)]
        if text is not None:
            self.records.append(RR(name, QTYPE.TXT, rdata=TXT_DATA(text), ttl=300))

    def resolve(self, request: Any, handler: DNSHandler) -> Any:
        """Answer one question."""
        name, kind = _name(request.q.qname), QTYPE[request.q.qtype]
        self.asked[name, kind] += 1
        reply = request.reply()
        reply.header.ad = 0  # the library says what was asked
        if name in self.broken:
            reply.header.rcode = RCODE.SERVFAIL
            return reply
        known = [record for record in self.records if _name(record.rname) == name]
        if not known:
            reply.header.rcode = RCODE.NXDOMAIN
        reply.add_answer(*(record for record in known if QTYPE[record.rtype] == kind))
        return reply


def _name(label: object) -> str:
    return str(label).rstrip(".").lower()


@pytest.fixture
def zone() -> Iterator[Zone]:
    zone = Zone()
    server = DNSServer(zone, address="127.0.0.1", port=0, logger=DNSLogger("-request,-reply,-recv,-send,-error"))
    # The library's own thread looks every half second whether it is to end, and each test has a server.
    thread = threading.Thread(target=server.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    zone.address = f"127.0.0.1:{server.server.server_address[1]}"
    yield zone
    server.server.shutdown()
    server.server.server_close()
    thread.join()


@pytest.fixture(scope="session")
def free_port() -> int:
    """A port that is free on all of 127.0.0.0/8, most likely: MX hosts differ by address only."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


def _sockets() -> int:
    found = 0
    for fd in os.listdir("/proc/self/fd"):  # noqa: PTH208
        with contextlib.suppress(OSError):
            found += os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")  # noqa: PTH115
    return found


@pytest.fixture(autouse=True)
async def nothing_leaks() -> AsyncIterator[None]:
    """Every socket that a test opened is closed in the end."""
    before = _sockets()
    yield
    for _ in range(200):
        if _sockets() <= before:
            break
        await asyncio.sleep(0.01)
    assert _sockets() <= before


Hosts = Callable[..., Awaitable[Sink]]


@pytest.fixture
async def mail_hosts(nothing_leaks: None, zone: Zone, free_port: int) -> AsyncIterator[Hosts]:
    """A sink with a mail host for each name: ``await mail_hosts({"mx.a.example": {"tls": "expired"}})``.

    The zone gets their addresses, and for each ``mx.<domain>`` the domain's MX.
    """
    async with contextlib.AsyncExitStack() as stack:

        async def make(personas: dict[str, dict[str, Any]]) -> Sink:
            mx = {}
            for number, name in enumerate(personas, 2):
                mx[name] = f"127.0.0.{number}:{free_port}"
                zone.a(name, f"127.0.0.{number}")
                if name.startswith("mx."):
                    zone.mx(name.removeprefix("mx."), name)
            script = {"personas": [{"name": name, "hosts": [name]} | persona for name, persona in personas.items()]}
            return await stack.enter_async_context(running_sink(script=script, mx=mx, http=None))

        yield make


class Sender:
    """What a sender does with a mail."""

    def __init__(
        self,
        port: int,
        ca_file: Path | None,
        *,
        resolver: Resolver,
        rows: bytes = b"",
        broken: BrokenTls | None = None,
        sts_port: int | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        shaping = read_shaping((built_in("shaping"), ROWS, rows))
        replies = read_replies((built_in("replies"),))
        in_force, room, topology = InForce(), WaitingRoom(100, 10**6, 100), Topology()
        self.shares = Shares(
            topology=topology,
            in_force=in_force,
            roll=Roll(UUID(int=2), frozenset()),
            shaping=lambda: shaping,
            direct=False,  # no slots: they are the broker's
            high=False,
            write=self._write,
            connection=lambda: None,
            held=room.count,
            changed=room.look_again,
        )
        contexts = TlsContexts(ca_file)
        settings = ClientSettings("sender.example", contexts, QUICK, BrokenTls() if broken is None else broken)
        self.pool = self.shares.pool = Pool(settings, watch=self.shares, host_hold=30.0)
        self.fetches: list[str] = []
        self.policies = None
        if sts_port is not None:
            more = {} if clock is None else {"clock": clock}
            self.policies = StsCache(resolver, contexts.verifying, port=sts_port, fetched=self.fetches.append, **more)
        self.routes = Routes(resolver=resolver, mx_port=port, shaping=lambda: shaping, policies=self.policies)
        automation = Automation(
            in_force,
            replies=lambda: replies,
            named=lambda name: name in shaping.names,
            impose=self.shares.impose,
            say=lambda _: None,
        )
        self._transmitter = Transmitter(
            routes=self.routes,
            pool=self.pool,
            outcomes=OutcomeWriter(Publisher(Link("amqp://unused.test/", "test")), topology),
            replies=lambda: replies,
            shaper=Shaper(self.shares, room, 1.0),
            automation=automation,
        )

    async def _write(self, entry: object) -> None:
        """Nothing here limits a site."""

    async def send(self, domain: str, *, tls: bool = False, to: str = "u", **content: Any) -> Tried:
        """One attempt at one mail."""
        delivery = a_delivery(f"{to}@{domain}")
        mail = a_content(tls=TlsNeed.REQUIRED if tls else None, **content)
        return await self._transmitter.transmit(a_parcel(deliveries=(delivery,), content=mail), delivery, ANYBODY)

    async def close(self) -> None:
        await self.pool.close(1.0)
        await self.shares.close()
        await self.routes.close()


MakeSender = Callable[..., Sender]


@pytest.fixture
async def make_sender(nothing_leaks: None, zone: Zone, free_port: int, tmp_path: Path) -> AsyncIterator[MakeSender]:
    """Make a sender that trusts these authorities: ``make_sender(sink.certificates.pem, rows=…)``."""
    made: list[Sender] = []

    def make(*authorities: bytes, resolver: Resolver | None = None, **options: Any) -> Sender:
        ca_file = tmp_path / f"ca{len(made)}.pem" if authorities else None
        if ca_file is not None:
            ca_file.write_bytes(b"".join(authorities))
        asked = resolver or Resolver([zone.address], private=True)
        made.append(Sender(free_port, ca_file, resolver=asked, **options))
        return made[-1]

    yield make
    for one in made:
        await one.close()


@dataclass
class Page:
    """What a web server answers with; ``wait`` seconds before it does."""

    body: bytes = b""
    status: str = "200 OK"
    kind: str = "text/plain"
    more: str = ""
    wait: float = 0.0


@dataclass
class WebServer:
    """An HTTPS server; what it serves under which Host."""

    ca: trustme.CA
    pages: dict[str, Page] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    untrusted: set[str] = field(default_factory=set)
    port: int = 0
    _server: asyncio.Server | None = None

    @property
    def pem(self) -> bytes:
        """The authority that signs its certificates."""
        return self.ca.cert_pem.bytes()

    def policy(self, domain: str, *lines: str, **page: Any) -> Page:
        """Serve a policy."""
        body = "".join(f"{line}\r\n" for line in ("version: STSv1", *lines)).encode()
        self.pages[f"mta-sts.{domain}"] = made = Page(**({"body": body} | page))
        return made

    async def start(self, names: Sequence[str]) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(*names).configure_cert(context)
        other = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert(*names).configure_cert(other)

        def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
            if name in self.untrusted:
                connection.context = other

        context.sni_callback = choose
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            host = next(
                line.split(":", 1)[1].strip() for line in head.split("\r\n") if line.lower().startswith("host:")
            )
            assert head.startswith("GET /.well-known/mta-sts.txt HTTP/1.1\r\n")
            self.asked.append(host)
            page = self.pages.get(host, Page(b"", "404 Not Found"))
            await asyncio.sleep(page.wait)
            writer.write(
                f"HTTP/1.1 {page.status}\r\nContent-Type: {page.kind}\r\n{page.more}"
                f"Content-Length: {len(page.body)}\r\nConnection: close\r\n\r\n".encode()
                + page.body
            )
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.transport.abort()


@pytest.fixture(scope="session")
def web_authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def web(nothing_leaks: None, web_authority: trustme.CA) -> AsyncIterator[WebServer]:
    """A web server for the policies of any ``mta-sts.<one label>.example``."""
    server = WebServer(web_authority)
    await server.start([f"mta-sts.{name}.example" for name in ("a", "b", "c", "signed")])
    yield server
    await server.stop()
