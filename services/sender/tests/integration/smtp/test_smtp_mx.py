"""From a domain to its mail hosts, asked of a real DNS server, and mail all the way to them."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from dnslib import QTYPE, RCODE, RR
from dnslib.server import DNSHandler, DNSLogger, DNSServer

from mailwarren.sender.smtp import DnsFailure, Envelope, Resolver, Routes, Shaping, SitePolicy, TlsMode, prepare_data
from mailwarren.sender.smtp.mx import MailHost, is_public

ZONE = """
two.example.        300 MX 20 mx2.two.example.
two.example.        300 MX 10 mx1.two.example.
mx1.two.example.    300 A 127.0.0.2
mx2.two.example.    300 A 127.0.0.3
mx2.two.example.    300 AAAA ::1
null.example.       300 MX 0 .
apex.example.       300 A 127.0.0.2
six.example.        300 AAAA ::1
text.example.       300 TXT "no mail here"
lame.example.       300 MX 10 nowhere.lame.example.
half.example.       300 MX 10 broken.half.example.
half.example.       300 MX 20 mx1.two.example.
only.example.       300 MX 10 broken.half.example.
short.example.      1 MX 10 mx1.two.example.
xn--bcher-kva.example. 300 MX 10 mx1.two.example.
corp.example.       300 MX 10 aspmx.l.google.com.
other.example.      300 MX 10 alt1.aspmx.l.google.com.
aspmx.l.google.com. 300 A 127.0.0.2
alt1.aspmx.l.google.com. 300 A 127.0.0.3
odd.example.        300 MX 5 m\\195x.odd.example.
odd.example.        300 MX 6 .
odd.example.        300 MX 10 mx1.two.example.
alias.example.      300 MX 10 cname.example.
cname.example.      300 CNAME mx1.two.example.
loop.example.       300 MX 10 ring1.loop.example.
ring1.loop.example. 300 CNAME ring2.loop.example.
ring2.loop.example. 300 CNAME ring1.loop.example.
circle.example.     300 CNAME circle.example.
inner.example.      300 MX 10 mx1.two.example.
inner.example.      300 MX 20 db.inner.example.
db.inner.example.   300 A 10.0.0.5
db.inner.example.   300 AAAA fd00::5
both.example.       300 MX 10 db.inner.example.
both.example.       300 MX 20 mx.both.example.
mx.both.example.    300 A 8.8.8.8
mx.both.example.    300 A 169.254.169.254
"""


@dataclass
class Zone:
    """Answers from ``ZONE``; names in ``broken`` get SERVFAIL, in ``silent`` nothing."""

    records: list[RR] = field(default_factory=lambda: RR.fromZone(ZONE))
    broken: set[str] = field(default_factory=lambda: {"broken.half.example", "servfail.example"})
    silent: set[str] = field(default_factory=lambda: {"silent.example"})
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    delay: float = 0.0
    address: str = ""

    def resolve(self, request: Any, handler: DNSHandler) -> Any:
        name, kind = str(request.q.qname).rstrip(".").lower(), QTYPE[request.q.qtype]
        self.asked[name, kind] += 1
        time.sleep(self.delay)
        reply = request.reply()
        if name in self.silent:
            time.sleep(1.0)
        if name in self.broken:
            reply.header.rcode = RCODE.SERVFAIL
            return reply
        known = [record for record in self.records if str(record.rname).rstrip(".").lower() == name]
        if not known:
            reply.header.rcode = RCODE.NXDOMAIN
        for record in known:
            if QTYPE[record.rtype] == "CNAME":
                reply.add_answer(record, *(one for one in self.records if one.rname == record.rdata.label))
            elif QTYPE[record.rtype] == kind:
                reply.add_answer(record)
        return reply


@pytest.fixture(scope="module")
def dns_server() -> Iterator[Zone]:
    zone = Zone()
    server = DNSServer(zone, address="127.0.0.1", port=0, logger=DNSLogger(log="-recv,-send,-request,-reply,-error"))
    server.start_thread()
    zone.address = f"127.0.0.1:{server.server.server_address[1]}"
    yield zone
    server.server.shutdown()
    server.server.server_close()
    server.thread.join()


@pytest.fixture
def zone(dns_server: Zone) -> Iterator[Zone]:
    dns_server.asked.clear()
    yield dns_server
    dns_server.delay = 0.0


@pytest.fixture
async def resolver(zone: Zone):
    resolver = Resolver([zone.address], timeout=0.5, private=True)
    yield resolver
    await resolver.close()


@pytest.mark.parametrize(
    ("domain", "hosts"),
    [
        (
            "two.example",
            (MailHost("mx1.two.example", 10, ("127.0.0.2",)), MailHost("mx2.two.example", 20, ("127.0.0.3", "::1"))),
        ),
        (
            "TWO.Example.",
            (MailHost("mx1.two.example", 10, ("127.0.0.2",)), MailHost("mx2.two.example", 20, ("127.0.0.3", "::1"))),
        ),
        ("apex.example", (MailHost("apex.example", 0, ("127.0.0.2",)),)),
        ("six.example", (MailHost("six.example", 0, ("::1",)),)),
        ("bücher.example", (MailHost("mx1.two.example", 10, ("127.0.0.2",)),)),
        ("odd.example", (MailHost("mx1.two.example", 10, ("127.0.0.2",)),)),
        ("half.example", (MailHost("mx1.two.example", 20, ("127.0.0.2",)),)),
    ],
)
async def test_hosts_come_in_order_of_preference_with_their_addresses(resolver, domain, hosts):
    assert await resolver.mail_hosts(domain) == hosts


@pytest.mark.parametrize(
    ("domain", "permanent", "enhanced"),
    [
        ("null.example", True, "5.1.10"),
        ("missing.example", True, "5.1.2"),
        ("text.example", True, "5.4.4"),
        ("not..a.domain", True, "5.1.2"),
        ("back\\slash.example", True, "5.1.2"),
        ("x" * 64 + ".example", True, "5.1.2"),
        ("[192.0.2.1]", True, "5.1.2"),
        ("servfail.example", False, "4.4.3"),
        ("silent.example", False, "4.4.3"),
        ("only.example", False, "4.4.3"),
        ("lame.example", False, "4.4.4"),
    ],
)
async def test_a_domain_without_mail_hosts_says_whether_that_is_for_good(resolver, domain, permanent, enhanced):
    failure = await resolver.mail_hosts(domain)

    assert isinstance(failure, DnsFailure)
    assert (failure.permanent, failure.enhanced) == (permanent, enhanced)
    assert failure.text


async def test_ipv6_can_be_left_out(zone):
    resolver = Resolver([zone.address], ipv6=False, private=True)

    assert [host.addresses for host in await resolver.mail_hosts("two.example")] == [("127.0.0.2",), ("127.0.0.3",)]
    assert not any(kind == "AAAA" for _, kind in zone.asked)


async def test_concurrent_questions_are_one_query_and_the_answer_is_kept(resolver, zone):
    zone.delay = 0.05

    answers = await asyncio.gather(*(resolver.mail_hosts("two.example") for _ in range(100)))
    again = await resolver.mail_hosts("two.example")

    assert all(answer is again for answer in answers)
    assert zone.asked == {("two.example", "MX"): 1} | {
        (name, kind): 1 for name in ("mx1.two.example", "mx2.two.example") for kind in ("A", "AAAA")
    }


@pytest.mark.parametrize("domain", ["missing.example", "servfail.example", "short.example"])
async def test_failures_and_short_lived_answers_are_kept_too(resolver, zone, domain):
    await resolver.mail_hosts(domain)
    before = zone.asked.total()

    await resolver.mail_hosts(domain)

    assert zone.asked.total() == before


async def test_what_was_kept_is_asked_again_when_its_time_is_over(resolver, zone, monkeypatch):
    await resolver.mail_hosts("two.example")
    now = time.monotonic()

    monkeypatch.setattr("mailwarren.sender.smtp.lookups.time.monotonic", lambda: now + 299)
    await resolver.mail_hosts("two.example")
    assert zone.asked["two.example", "MX"] == 1
    monkeypatch.setattr("mailwarren.sender.smtp.lookups.time.monotonic", lambda: now + 302)
    await resolver.mail_hosts("two.example")

    assert zone.asked["two.example", "MX"] == 2


async def test_the_cache_is_bounded(zone):
    resolver = Resolver([zone.address], size=2, private=True)
    for domain in ("null.example", "missing.example", "text.example", "null.example"):
        await resolver.mail_hosts(domain)

    assert zone.asked["null.example", "MX"] == 2
    await resolver.close()


async def test_a_cancelled_question_does_not_cancel_the_others(resolver, zone):
    zone.delay = 0.05
    first = asyncio.create_task(resolver.mail_hosts("apex.example"))
    second = asyncio.create_task(resolver.mail_hosts("apex.example"))
    await asyncio.sleep(0.02)

    first.cancel()

    assert await second == (MailHost("apex.example", 0, ("127.0.0.2",)),)


@pytest.mark.parametrize("domain", ["loop.example", "circle.example", "silent.example", "servfail.example"])
async def test_dns_that_loops_or_is_silent_ends_in_a_failure_that_is_tried_again(resolver, domain: str) -> None:
    began = time.monotonic()
    found = await resolver.mail_hosts(domain)
    assert isinstance(found, DnsFailure)
    assert not found.permanent
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("domain", ["inner.example", "apex.example", "six.example"])
async def test_hosts_without_a_public_address_get_no_mail_unless_that_is_allowed(zone, domain: str) -> None:
    resolver = Resolver([zone.address], timeout=0.5)
    found = await resolver.mail_hosts(domain)
    await resolver.close()
    assert isinstance(found, DnsFailure)
    assert not found.permanent  # a mistake of theirs, or of ours: nobody is suppressed for it
    assert "MAILWARREN_PRIVATE_MX" in found.text


async def test_public_addresses_of_a_domain_are_used_and_others_left_out(zone) -> None:
    resolver = Resolver([zone.address], timeout=0.5)
    assert await resolver.mail_hosts("both.example") == (MailHost("mx.both.example", 20, ("8.8.8.8",)),)
    await resolver.close()


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
        ),
        *("255.255.255.255", "::1", "::", "fe80::1", "fd00::1", "ff02::1", "::ffff:127.0.0.1", "64:ff9b::a00:1"),
        *("2002:a00:1::", "2001:0:a00:1::1"),
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2607:f8b0::1a", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("server", ["", "localhost", "127.0.0.1:port", "999.1.1.1", "::1:x"])
def test_a_name_server_is_an_address(server):
    with pytest.raises(ValueError, match=r"name server|IPv4 or IPv6"):
        Resolver([server])


@pytest.mark.parametrize("server", ["127.0.0.1", "127.0.0.1:5353", "::1", "[::1]", "[::1]:5353"])
def test_addresses_and_ports_of_name_servers_are_read(server):
    Resolver([server])


@pytest.fixture
def deliver(resolver, make_pool) -> Callable[..., Any]:
    pool = make_pool()

    async def deliver(routes: Routes, recipient: str) -> Any:
        site = await routes.site_for(recipient.rpartition("@")[2])
        assert not isinstance(site, DnsFailure)
        return await pool.send(site, Envelope("", recipient), prepare_data(b"x: y\n\nz\n"), lambda: True)

    return deliver


async def test_mail_goes_to_the_best_mx_and_to_the_next_when_that_is_down(server, resolver, deliver):
    primary = await server(address="127.0.0.2")
    backup = await server(address="127.0.0.3", port=primary.port)
    routes = Routes(resolver=resolver, mx_port=primary.port)

    first = await deliver(routes, "a@two.example")
    await primary.stop()
    second = await deliver(routes, "b@two.example")

    assert first.host == f"mx1.two.example[127.0.0.2]:{primary.port}"
    assert second.host == f"mx2.two.example[127.0.0.3]:{primary.port}"
    assert [mail.recipient for mail in backup.mails] == ["TO:<b@two.example>"]


async def test_mail_goes_to_the_domain_itself_where_it_has_no_mx(server, resolver, deliver):
    target = await server(address="127.0.0.2")

    assert (await deliver(Routes(resolver=resolver, mx_port=target.port), "a@apex.example")).outcome.code == 250


async def test_mx_names_may_be_aliases(server, resolver, deliver):
    target = await server(address="127.0.0.2")

    assert (await deliver(Routes(resolver=resolver, mx_port=target.port), "a@alias.example")).outcome.code == 250


async def test_domains_of_one_mx_share_a_connection(server, resolver, deliver):
    target = await server(address="127.0.0.2")
    routes = Routes(resolver=resolver, mx_port=target.port)

    for recipient in ("a@short.example", "b@bücher.example", "c@alias.example"):
        assert (await deliver(routes, recipient)).outcome.code == 250
    # The alias is another name, so another route, in the eyes of a client that cannot know better.
    assert len(target.sessions) == 2
    assert [mail.session for mail in target.mails][:2] == [1, 1]


def google(tls: TlsMode) -> Shaping:
    return Shaping({"google": SitePolicy(tls=tls)}, mx={".google.com": "google"})


async def test_domains_of_one_provider_share_a_site_with_its_policy(resolver):
    shaping = google(TlsMode.VERIFY)
    routes = Routes(resolver=resolver, shaping=lambda: shaping)

    one, two = await routes.site_for("corp.example"), await routes.site_for("other.example")

    assert one.name == two.name == "google"
    assert one.tls is TlsMode.VERIFY
    assert one.route != two.route
    assert await routes.site_for("corp.example") is one
    shaping = google(TlsMode.REQUIRED)
    assert (await routes.site_for("corp.example")).tls is TlsMode.REQUIRED
    shaping = Shaping()
    assert (await routes.site_for("corp.example")).name == "google.com"


async def test_a_domain_without_hosts_has_no_site(resolver):
    failure = await Routes(resolver=resolver).site_for("null.example")

    assert isinstance(failure, DnsFailure)
    assert failure.permanent
