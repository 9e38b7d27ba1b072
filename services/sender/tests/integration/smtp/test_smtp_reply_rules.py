"""Every built-in reply rule over a real dialogue: what becomes of the mail, and what is in force after it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache
from typing import Protocol
from uuid import UUID

import pytest
from dnslib import QTYPE, RR
from dnslib.server import DNSHandler, DNSLogger, DNSServer
from msgspec.structs import replace

from mailwarren.contracts.events import Kind
from mailwarren.contracts.parcel import Attempt
from mailwarren.contracts.reply import Command
from mailwarren.contracts.shaping import Notice, Override, Scope
from mailwarren.contracts.testing import a_delivery, a_parcel
from mailwarren.contracts.topology import Topology
from mailwarren.runtime.amqp import Link, Publisher
from mailwarren.sender.adapters.control_log import ShapingEntry
from mailwarren.sender.adapters.outcomes import OutcomeWriter
from mailwarren.sender.domain.classify import Rule
from mailwarren.sender.domain.in_force import InForce
from mailwarren.sender.rules.book import built_in
from mailwarren.sender.rules.replies import parse_example, read_rules
from mailwarren.sender.rules.shaping import read_shaping
from mailwarren.sender.shaping.automation import Automation
from mailwarren.sender.shaping.roll import Roll
from mailwarren.sender.shaping.shaper import Shaper, SlowSite
from mailwarren.sender.shaping.shares import Shares
from mailwarren.sender.shaping.waiting import WaitingRoom
from mailwarren.sender.smtp import SMARTHOST, ClientSettings, Pool, Resolver, Routes, TlsContexts
from mailwarren.sender.transmit import Permit, Transmitter, Tried

OURS = read_rules(built_in("replies"))
RULES = tuple(rule for rule, _ in OURS)
SITES = sorted(read_shaping((built_in("shaping"),)).names - {SMARTHOST})
"""Each is a provider in the zone below: its hosts are under ``<site>.mx.test``, its domain is ``<site>.rcpt.test``."""
ROWS = "".join(f"[sites.'{site}']\nmx = ['.{site}.mx.test']\ntls = 'off'\n" for site in SITES).encode()
SHAPING = read_shaping((built_in("shaping"), ROWS, b"[default]\ntls = 'off'\nconnection_rate = 'none'\n"))
UNNAMED = "small.test"
ZONE = "".join(f"{site}.rcpt.test. 60 IN MX 1 a.{site}.mx.test.\n" for site in SITES) + (
    f"{UNNAMED}. 60 IN MX 1 mx.{UNNAMED}.\n"
)
ANYBODY = Permit(lambda: True, lambda _: True, None)
WHERE = {
    Command.CONNECT: "GREETING",
    Command.EHLO: "EHLO",
    Command.MAIL: "MAIL",
    Command.RCPT: "RCPT",
    Command.DATA: "DATA",
    Command.DOT: "DOT",
}
STAGES = (Command.CONNECT, Command.MAIL, Command.RCPT, Command.DOT)

parametrize_rules = pytest.mark.parametrize(
    ("rule", "examples"), OURS, ids=[f"{n}-{one.bounce_class}" for n, (one, _) in enumerate(OURS, 1)]
)


class Session(Protocol):
    """What a scripted server knows of a connection."""

    argument: str


@cache
def client_settings() -> ClientSettings:
    return ClientSettings("sender.example", TlsContexts())


class _Zone:
    def __init__(self) -> None:
        self.records = RR.fromZone(ZONE)

    def resolve(self, request: object, handler: DNSHandler) -> object:
        reply = request.reply()  # type: ignore[attr-defined]
        name, kind = str(request.q.qname), QTYPE[request.q.qtype]  # type: ignore[attr-defined]
        found = [record for record in self.records if str(record.rname) == name] if kind == "MX" else []
        if kind == "A" and (".mx." in name or name.startswith("mx.")):
            found = RR.fromZone(f"{name} 60 IN A 127.0.0.1")
        reply.add_answer(*found)
        return reply


@pytest.fixture(scope="module")
def name_server() -> Iterator[str]:
    server = DNSServer(_Zone(), address="127.0.0.1", port=0, logger=DNSLogger("-request,-reply,-recv,-send"))
    server.start_thread()
    yield f"127.0.0.1:{server.server.server_address[1]}"
    server.server.shutdown()
    server.server.server_close()
    server.thread.join()


class Sender:
    """What a sender does with a mail, from DNS to what is in force, without its broker."""

    def __init__(self, name_server: str, port: int) -> None:
        self.written: list[ShapingEntry] = []
        self.in_force = InForce()
        room = WaitingRoom(100, 10**6, 100)
        topology = Topology()
        self.shares = Shares(
            topology=topology,
            in_force=self.in_force,
            roll=Roll(UUID(int=2), frozenset()),
            shaping=lambda: SHAPING,
            direct=False,  # no slots: they are the broker's
            high=False,
            write=self._write,
            connection=lambda: None,
            held=room.count,
            changed=room.look_again,
        )
        shaper = Shaper(self.shares, room, 1.0)
        self.pool = self.shares.pool = Pool(client_settings(), watch=self.shares, host_hold=0.0)
        self.automation = Automation(
            self.in_force,
            replies=lambda: RULES,
            named=lambda name: name in SHAPING.names,
            impose=self.shares.impose,
            say=self._say,
            tell_every=0.01,
        )
        self.resolver = Resolver([name_server], private=True)
        self._transmitter = Transmitter(
            routes=Routes(resolver=self.resolver, mx_port=port, shaping=lambda: SHAPING),
            pool=self.pool,
            outcomes=OutcomeWriter(Publisher(Link("amqp://unused.test/", "test")), topology),
            replies=lambda: RULES,
            shaper=shaper,
            automation=self.automation,
        )

    def _say(self, notice: Notice) -> None:
        """As the broker does, which gives it to all senders."""
        self.automation.noticed(notice)

    async def _write(self, entry: ShapingEntry) -> None:
        self.written.append(entry)

    async def send(self, domain: str, last: Attempt | None = None) -> Tried:
        delivery = replace(a_delivery(f"u@{domain}"), last=last)
        return await self._transmitter.transmit(a_parcel(deliveries=(delivery,)), delivery, ANYBODY)

    async def close(self) -> None:
        await self.pool.close(1.0)
        await self.shares.close()
        await self.resolver.close()


@pytest.fixture
async def sender(nothing_leaks: None, name_server: str) -> AsyncIterator[Callable[[int], Sender]]:
    """Make one: ``sender(port)``."""
    made: list[Sender] = []

    def make(port: int) -> Sender:
        made.append(Sender(name_server, port))
        return made[-1]

    yield make
    for one in made:
        await one.close()


def domain_of(rule: Rule) -> str:
    return f"{min(rule.sites)}.rcpt.test" if rule.sites else UNNAMED


def line_of(example: str) -> str:
    command, _, rest = example.partition(" ")
    return rest if command in set(Command) else example


@parametrize_rules
async def test_a_mail_ends_as_the_rule_says_wherever_the_reply_comes(server, sender, rule: Rule, examples) -> None:
    there = await server()
    for example in examples:
        line = line_of(example)
        for stage in STAGES:
            if rule.suppress and stage is Command.MAIL:
                continue  # what answers MAIL is not about the recipient
            there.answers = {WHERE[stage]: line}
            process = sender(there.port)
            tried = await process.send(domain_of(rule))
            await process.pool.close(1.0)
            assert tried.attempt is not None
            assert tried.attempt.reply is not None
            assert tried.attempt.reply.command is stage
            assert (tried.attempt.bounce_class, tried.attempt.trouble) == (rule.bounce_class, None)
            passing = line.startswith("4") or stage is Command.CONNECT
            assert tried.kind == (Kind.DEFERRED if passing else rule.permanent), (line, stage)
            assert tried.suppress == (rule.suppress and tried.kind is Kind.BOUNCED)
            assert there.mails == []


@parametrize_rules
async def test_an_action_is_taken_after_so_many_replies_and_once(server, sender, until, rule: Rule, examples) -> None:
    action, line = rule.action, line_of(examples[0])
    there = await server(answers={WHERE[parse_example(examples[0]).command]: line})
    process = sender(there.port)
    domain = domain_of(rule)
    for _ in range(action.after if action else 2):
        assert process.written == []
        tried = await process.send(domain)
        assert tried.attempt is not None
        assert tried.attempt.reply is not None
    if action is None:
        await asyncio.sleep(0.02)
        assert process.written == []
        return
    await until(lambda: bool(process.written))
    (override,) = process.written
    assert isinstance(override, Override)
    tenant = a_parcel(deliveries=(a_delivery(f"u@{domain}"),)).tenant
    site = min(rule.sites, default=UNNAMED)
    assert (override.scope, override.name) == (
        (Scope.TENANT, str(tenant)) if action.scope is Scope.TENANT else (Scope.SITE, site)
    )
    assert override.cause == f"rule:{rule.bounce_class}"
    assert override.until - override.since == pytest.approx(action.seconds)
    assert override.sample.startswith(line[:3])
    if action.suspend:
        seen = len(there.sessions)
        with pytest.raises(SlowSite):
            await process.send(domain)
        assert len(there.sessions) == seen
    else:
        share = process.shares.share_of(site, SHAPING.policy(site).limits)
        assert share.connections == (action.connections or SHAPING.policy(site).limits.connections)
        assert share.rate == (action.rate if action.rate is not None else SHAPING.policy(site).limits.rate)
    process.automation.seen(rule, site, tenant, tried.attempt.reply)
    await asyncio.sleep(0.03)
    assert len(process.written) == 1


async def test_others_go_on_while_one_site_is_suspended(server, sender) -> None:
    def answer(session: Session) -> str:
        return "421 4.7.0 [TSS04] not now" if "yahoo.rcpt" in session.argument else "250 ok"

    there = await server(answers={"RCPT": answer})
    process = sender(there.port)
    assert (await process.send("yahoo.rcpt.test")).kind is Kind.DEFERRED
    with pytest.raises(SlowSite):
        await process.send("yahoo.rcpt.test")
    assert (await process.send("google.rcpt.test")).kind is Kind.DELIVERED
    assert (await process.send(UNNAMED)).kind is Kind.DELIVERED


async def test_a_protocol_error_is_tried_once_more_and_then_fails(server, sender) -> None:
    there = await server(answers={"RCPT": "550 5.5.2 What was that?"})
    process = sender(there.port)
    kinds, last = [], None
    for answer in ("451 4.3.0 Later", "550 5.5.2 What was that?", "550 5.5.2 What was that?"):
        there.answers["RCPT"] = answer
        tried = await process.send(UNNAMED, last)
        last = tried.attempt
        kinds.append(tried.kind)
    assert kinds == [Kind.DEFERRED, Kind.DEFERRED, Kind.FAILED]
