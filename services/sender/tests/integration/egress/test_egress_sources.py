"""Mail on its way out of several addresses of one host, to mail hosts that see where it comes from."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from mailwarren.contracts.events import Kind
from mailwarren.contracts.parcel import Delivery
from mailwarren.contracts.testing import a_content, a_delivery, a_parcel
from mailwarren.contracts.topology import Topology
from mailwarren.runtime.amqp import Link, Publisher
from mailwarren.sender.adapters.outcomes import OutcomeWriter
from mailwarren.sender.settings import SenderSettings
from mailwarren.sender.shaping.shaper import NoEgress
from mailwarren.sender.transmit import Permit, Transmitter, Tried
from mailwarren.sender.wiring import build_routes, build_shaping, open_rules
from mailwarren.sink.server import running_sink

ANYBODY = Permit(lambda: True, lambda _: True, None)
TWO = """
[egresses.one]
helo = "one.sender.test"
ipv4 = "127.0.0.21"
[egresses.two]
helo = "two.sender.test"
ipv4 = "127.0.0.22"
"""


def mail(number: int, domain: str = "rcpt.test", **changes: Any) -> Delivery:
    """The same mail in every run: which egress it gets follows from its id."""
    return a_delivery(f"u{number}@{domain}", UUID(int=number + 1), **changes)


class Sending:
    """What a sender process does from DNS to the dot, without its broker."""

    def __init__(self, file: Path, resolver: str, port: int, **settings: Any) -> None:
        self.file = file
        rows = file.with_name("shaping.toml")
        rows.write_text('[default]\nrate = "none"\nconnection_rate = "none"\n')
        options = {
            "resolver": resolver, "mx_port": port, "private_mx": True, "mta_sts": False, "helo": "host.test",
            "shaping_file": rows,
        }  # fmt: skip
        made = SenderSettings(**({"egress_file": file} | options | settings))
        self.rules = open_rules(made)
        self.routes = build_routes(made, self.rules)
        link, topology = Link("amqp://unused.test/", "test"), Topology("")
        publisher = Publisher(link)
        self.shaping = build_shaping(made, topology, link, publisher, rules=self.rules, fleet="", names=())
        self.pool = self.shaping.pool
        self._transmitter = Transmitter(
            routes=self.routes,
            pool=self.pool,
            outcomes=OutcomeWriter(publisher, topology),
            replies=lambda: self.rules.replies,
            shaper=self.shaping.shaper,
            automation=self.shaping.automation,
            departures=self.shaping.departures,
        )

    async def send(self, delivery: Delivery) -> Tried:
        parcel = a_parcel(content=a_content(), deliveries=(delivery,))
        return await self._transmitter.transmit(parcel, delivery, ANYBODY)

    async def send_many(self, count: int, domain: str = "rcpt.test") -> set[Kind]:
        """Ten at a time."""
        kinds: set[Kind] = set()
        for start in range(0, count, 10):
            sent = (self.send(mail(number, domain)) for number in range(start, min(start + 10, count)))
            kinds |= {tried.kind for tried in await asyncio.gather(*sent)}
        return kinds

    async def close(self) -> None:
        await self.pool.close(1.0)
        await self.shaping.shares.close()
        await self.routes.close()


Start = Callable[..., Sending]


@pytest.fixture
async def start(tmp_path: Path, names) -> AsyncIterator[Start]:
    """A sender with a file of egresses: ``start(text, port)``."""
    made: list[Sending] = []

    def make(text: str, port: int, **settings: Any) -> Sending:
        file = tmp_path / "egress.toml"
        file.write_text(text)
        made.append(Sending(file, names.address, port, **settings))
        return made[-1]

    yield make
    for one in made:
        await one.close()


@pytest.fixture
def rcpt(names, mail_host) -> None:
    """``rcpt.test`` has the mail host."""
    names.mx("rcpt.test", "mx.rcpt.test")
    names.host("mx.rcpt.test", "127.0.0.1")


@pytest.mark.usefixtures("rcpt")
async def test_each_egress_has_its_address_its_name_and_its_share(start: Start, mail_host) -> None:
    sending = start(f"{TWO}[pools]\ndefault = {{ one = 3, two = 1 }}\n", mail_host.port)
    assert await sending.send_many(120) == {Kind.DELIVERED}
    assert set(mail_host.came) == {("127.0.0.21", "one.sender.test"), ("127.0.0.22", "two.sender.test")}
    assert mail_host.came.total() == 120
    # 90 of 120 are expected, and it is the same mails in every run.
    assert 71 <= mail_host.came["127.0.0.21", "one.sender.test"] <= 109


@pytest.mark.usefixtures("rcpt")
async def test_the_attempt_says_what_it_left_from_and_a_later_one_leaves_from_there(start: Start, mail_host) -> None:
    sending = start(TWO, mail_host.port)
    for number in range(6):
        delivery = mail(number)
        first = await sending.send(delivery)
        assert first.attempt is not None
        other = {"one": "two", "two": "one"}[first.attempt.egress]
        moved = replace(first.attempt, egress=other, bounce_class="greylisted")
        again = await sending.send(replace(delivery, last=moved))
        assert again.attempt is not None
        assert again.attempt.egress == other


@pytest.mark.usefixtures("rcpt")
async def test_a_server_that_greylists_by_address_is_passed_at_the_second_try(start: Start, names) -> None:
    script = {"personas": [{"name": "grey", "domains": ["grey.test"], "greylist_s": 0.2}]}
    async with running_sink(script=script, http=None) as sink:
        host, _, port = sink.addresses.smtp.rpartition(":")
        names.mx("grey.test", "mx.grey.test")
        names.host("mx.grey.test", host)
        sending = start(TWO, int(port))
        mails = [mail(number, "grey.test") for number in range(8)]
        first = await asyncio.gather(*(sending.send(one) for one in mails))
        assert {tried.kind for tried in first} == {Kind.DEFERRED}
        assert len({tried.attempt.egress for tried in first if tried.attempt}) == 2
        await asyncio.sleep(0.3)
        later = [replace(tried.delivery, last=tried.attempt) for tried in first]
        second = await asyncio.gather(*(sending.send(one) for one in later))
        assert {tried.kind for tried in second} == {Kind.DELIVERED}
        assert [tried.attempt and tried.attempt.egress for tried in second] == [
            tried.attempt and tried.attempt.egress for tried in first
        ]


@pytest.mark.usefixtures("rcpt")
async def test_an_address_that_is_refused_does_not_stop_mail_from_the_others(start: Start, mail_host) -> None:
    mail_host.refused = {"127.0.0.21"}
    sending = start(TWO, mail_host.port)
    tried = [await sending.send(mail(number)) for number in range(12)]
    by_egress = {one.attempt.egress: one.kind for one in tried if one.attempt}
    assert by_egress["two"] is Kind.DELIVERED
    assert by_egress["one"] is not Kind.DELIVERED
    assert set(mail_host.came) == {("127.0.0.22", "two.sender.test")}


async def test_mail_to_ipv6_leaves_from_the_ipv6_address(start: Start, names, mail_host) -> None:
    if not _can_bind("::1"):
        pytest.skip("this host has no IPv6")
    names.mx("six.test", "mx.six.test")
    names.host("mx.six.test", "::1")
    four = '[egresses.four]\nhelo = "four.sender.test"\nipv4 = "127.0.0.21"\n'
    both = '[egresses.both]\nhelo = "both.sender.test"\nipv4 = "127.0.0.22"\nipv6 = "::1"\n'
    sending = start(four + both, mail_host.port)
    assert await sending.send_many(10, "six.test") == {Kind.DELIVERED}
    assert set(mail_host.came) == {("::1", "both.sender.test")}
    sending = start(four, mail_host.port)
    with pytest.raises(NoEgress):
        await sending.send(mail(1, "six.test"))


@pytest.mark.usefixtures("rcpt")
async def test_an_address_that_is_not_this_hosts_is_left_alone(start: Start, mail_host) -> None:
    sending = start(TWO.replace("127.0.0.21", "192.0.2.21"), mail_host.port)
    assert await sending.send_many(10) == {Kind.DELIVERED}
    assert set(mail_host.came) == {("127.0.0.22", "two.sender.test")}
    assert "192.0.2.21 bind" in sending.shaping.checks.problems("one")[0]
    assert sending.shaping.checks.trouble is None
    named = start(TWO.replace("127.0.0.21", "192.0.2.21"), mail_host.port, egress="one,two")
    assert "egress one: 192.0.2.21 bind" in (named.shaping.checks.trouble or "")
    nothing = start(TWO.replace("127.0.0.2", "192.0.2.2"), mail_host.port)
    assert nothing.shaping.checks.trouble is not None


@pytest.mark.usefixtures("rcpt")
async def test_one_that_loses_its_address_while_it_runs_costs_an_attempt_and_closes_no_site(
    start: Start, mail_host
) -> None:
    sending = start(TWO, mail_host.port)
    gone = TWO.replace("127.0.0.21", "192.0.2.21")
    sending.file.write_text(gone)
    # The rules change before the next look at the addresses.
    sending.rules._put_egress(sending.rules._egress_file.load())
    tried = [await sending.send(mail(number)) for number in range(12)]
    lost = [one.attempt for one in tried if one.kind is Kind.DEFERRED and one.attempt is not None]
    assert {one.egress for one in lost} == {"one"}
    assert {one.bounce_class for one in lost} == {"egress"}
    assert all("192.0.2.21 cannot be sent from" in (one.trouble or "") for one in lost)
    assert {one.attempt.egress for one in tried if one.kind is Kind.DELIVERED and one.attempt} == {"two"}
    assert not sending.shaping.shares.bars("rcpt.test")
    # The next attempt of such a mail goes another way.
    again = await sending.send(mail(1, last=lost[0]))
    assert again.kind is Kind.DELIVERED


@pytest.mark.usefixtures("rcpt")
async def test_a_new_file_moves_mail_and_closes_connections_of_the_old_one(start: Start, mail_host) -> None:
    sending = start(TWO, mail_host.port)
    assert await sending.send_many(20) == {Kind.DELIVERED}
    mail_host.came.clear()
    sending.file.write_text(TWO.replace("two.sender.test", "new.sender.test"))
    sending.rules._put_egress(sending.rules._egress_file.load())
    sending.pool.adapt(lambda site: sending.shaping.departures.limits_of(site, by_rules=sending.routes.limits_of))
    assert await sending.send_many(20) == {Kind.DELIVERED}
    assert set(mail_host.came) == {("127.0.0.21", "one.sender.test"), ("127.0.0.22", "new.sender.test")}


@pytest.mark.usefixtures("rcpt")
async def test_without_a_file_mail_leaves_as_the_host_sends_it(start: Start, mail_host) -> None:
    sending = start(TWO, mail_host.port)
    sending.rules.egress = None
    tried = await sending.send(mail(1))
    assert tried.attempt is not None
    assert (tried.kind, tried.attempt.egress) == (Kind.DELIVERED, "")
    assert set(mail_host.came) == {("127.0.0.1", "host.test")}


def _can_bind(address: str) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
        probe.bind((address, 0))
        return True
    return False
