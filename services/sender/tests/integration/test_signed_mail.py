"""Signed mail on its way to a real sink, which hands what it got to two verifiers that are not ours."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec.structs import replace

from mailwarren.contracts.dkim import ED25519
from mailwarren.contracts.events import Kind
from mailwarren.contracts.parcel import Delivery, Role, Syntax
from mailwarren.contracts.testing import a_content, a_delivery, a_parcel
from mailwarren.contracts.topology import Topology
from mailwarren.devstack.harness.dkim import dkimpy_says, make_pair, opendkim_says, zone
from mailwarren.runtime.amqp import Link, Publisher
from mailwarren.sender.adapters.dkim_keys import DomainKeys
from mailwarren.sender.adapters.outcomes import OutcomeWriter
from mailwarren.sender.adapters.private_keys import open_key
from mailwarren.sender.settings import SenderSettings
from mailwarren.sender.signing.batches import Batches
from mailwarren.sender.signing.mails import Signing
from mailwarren.sender.transmit import Permit, Transmitter, Tried
from mailwarren.sender.wiring import build_routes, build_shaping, open_rules
from mailwarren.sink.server import Sink, running_sink

RSA_PAIR, ED25519_PAIR, NEXT = make_pair("mw1"), make_pair("mw1e", ED25519), make_pair("mw2")
RECORDS = zone("sender.test", RSA_PAIR, ED25519_PAIR, NEXT)
SCRIPT = {
    "personas": [
        {"domains": ["later.test"], "rules": [{"stage": "dot", "code": 451, "first_attempts": 1}]},
        {"domains": ["greylisting.test"], "rules": [{"stage": "rcpt", "code": 450, "first_attempts": 1}]},
    ]
}
BODIES = {
    "text": {"text": "Hello\n"},
    "both": {"text": "Hello\n", "html": "<p>Hello"},
    "empty": {"text": "", "subject": ""},
    "blank lines at the end": {"text": "Hello\n\n\n\n"},
    "dots and spaces": {"text": ".\n..\n a  b \t\n-- \n"},
    "foreign": {"text": "Grüße, 名前\n", "subject": "Grüße aus Zürich " * 12, "sender": "Ådá <ada@sender.test>"},
    "long lines": {"text": "word " * 1000},
    "headers": {"headers": {"List-Unsubscribe": "<https://sender.test/u>", "X-Long": "word " * 60, "X-Empty": ""}},
    "many recipients": {"to": tuple(f"Person {n} <p{n}@x.test>" for n in range(40)), "cc": ("c@x.test",)},
    "template": {"text": "Hello {{ name }}\n", "syntax": Syntax.TEMPLATE},
}


class Sending:
    """What a sender process does with signed mail, without its broker."""

    def __init__(self, sink: Sink, threads: ThreadPoolExecutor) -> None:
        self.sink = sink
        self.threads = threads
        settings = SenderSettings(smtp_url=f"smtp://{sink.addresses.smtp}?tls=off", helo="sender.test")
        rules = open_rules(settings)
        link, topology = Link("amqp://unused.test/", "test"), Topology("")
        publisher = Publisher(link)
        shaping = build_shaping(settings, topology, link, publisher, rules=rules, fleet="", names=())
        self.pool = shaping.pool
        self._transmitter = Transmitter(
            routes=build_routes(settings, rules),
            pool=shaping.pool,
            outcomes=OutcomeWriter(publisher, topology),
            replies=lambda: rules.replies,
            shaper=shaping.shaper,
            automation=shaping.automation,
        )

    async def send(self, delivery: Delivery, *pairs, **content) -> Tried:
        keys = DomainKeys("sender.test", tuple(open_key(pair.key) for pair in pairs or (RSA_PAIR, ED25519_PAIR)))
        parcel = a_parcel(
            content=a_content(signing="sender.test", **content), deliveries=(delivery,), accepted_at=1_764_000_000.0
        )
        permit = Permit(lambda: True, lambda _: True, None, signing=Signing(keys, Batches(self.threads, 2)))
        return await self._transmitter.transmit(parcel, delivery, permit)

    def received(self) -> list[bytes]:
        """Raw mails at the sink, the oldest first, those that it refused too."""
        return [mail.raw for mail in self.sink.store.mailbox.newest()][::-1]

    def envelopes(self) -> list[bytes]:
        return [mail.sender for mail in self.sink.store.mailbox.newest()][::-1]


@pytest.fixture(scope="module")
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor


@pytest.fixture
async def sending(threads: ThreadPoolExecutor) -> AsyncIterator[Sending]:
    async with running_sink(script=SCRIPT, http=None) as sink:
        made = Sending(sink, threads)
        yield made
        await made.pool.close(1.0)


@pytest.mark.parametrize("content", BODIES.values(), ids=BODIES)
async def test_what_a_server_gets_verifies_twice_and_one_octet_changed_does_not(sending, content):
    delivery = a_delivery(variables={"name": "Bob"}, role=Role.BCC)
    assert (await sending.send(delivery, **content)).kind is Kind.DELIVERED
    (mail,) = sending.received()
    assert mail.startswith(b"DKIM-Signature:")
    assert dkimpy_says(mail, RECORDS) == [True, True]
    assert await asyncio.to_thread(opendkim_says, mail, RECORDS)
    for changed in (mail.replace(b"From: ", b"From: x", 1), mail.replace(b"\r\n\r\n", b"\r\n\r\nx", 1)):
        assert dkimpy_says(changed, RECORDS) == [False, False]
        assert not await asyncio.to_thread(opendkim_says, changed, RECORDS)


@pytest.mark.parametrize("pair", [RSA_PAIR, ED25519_PAIR], ids=["rsa", "ed25519"])
async def test_each_algorithm_alone(sending, pair):
    await sending.send(a_delivery(), pair)
    (mail,) = sending.received()
    assert dkimpy_says(mail, RECORDS) == [True]
    assert await asyncio.to_thread(opendkim_says, mail, RECORDS)


async def test_the_attempt_after_a_refused_final_dot_repeats_its_octets(sending):
    first = await sending.send(a_delivery("bob@later.test"))
    assert (first.kind, first.delivery.signature is not None) == (Kind.DEFERRED, True)
    await asyncio.sleep(1.1)  # another second, which a new signature would say
    second = await sending.send(replace(first.delivery, last=first.attempt))
    assert second.kind is Kind.DELIVERED
    before, after = sending.received()
    assert before == after
    assert dkimpy_says(after, RECORDS) == [True, True]


async def test_the_attempt_after_a_rotation_has_the_new_signature(sending):
    first = await sending.send(a_delivery("bob@later.test"))
    await sending.send(first.delivery, NEXT)
    _, after = sending.received()
    assert b"s=mw2;" in after
    assert b"s=mw1" not in after
    assert dkimpy_says(after, RECORDS) == [True]


async def test_what_was_signed_for_a_refused_envelope_is_kept_too(sending):
    first = await sending.send(a_delivery("bob@greylisting.test"))
    assert (first.kind, sending.received()) == (Kind.DEFERRED, [])
    second = await sending.send(first.delivery)
    assert (second.kind, second.delivery.signature) == (Kind.DELIVERED, first.delivery.signature)


async def test_the_envelope_sender_is_the_parcels_where_it_has_one(sending):
    await sending.send(a_delivery())
    await sending.send(a_delivery(), envelope_sender="b+17@send.sender.test")
    await sending.send(a_delivery(), envelope_sender="")
    assert sending.envelopes() == [b"ada@sender.test", b"b+17@send.sender.test", b""]
    assert all(b"From: Ada <ada@sender.test>\r\n" in mail for mail in sending.received())


async def test_mail_that_is_to_be_signed_is_never_sent_without_what_signs_it(sending):
    delivery = a_delivery()
    parcel = a_parcel(content=a_content(signing="sender.test"), deliveries=(delivery,))
    with pytest.raises(RuntimeError, match="may not be sent unsigned"):
        await sending._transmitter.transmit(parcel, delivery, Permit(lambda: True, lambda _: True, None))
    assert sending.received() == []
