"""SIZE, SMTPUTF8, 8BITMIME and CHUNKING, as the mail hosts of a domain offer them or not."""

import asyncio

import pytest

from mailwarren.contracts.events import Kind

CHUNKING = b"[default]\nchunking = true\n"
FEW = b"[default]\nchunking = true\nmessages_per_connection = 100\nconnections = 1\nmails_behind = 3\n"
LONG = "A line of a letter that has many of them.\n" * 1000


def raw(sink) -> list[bytes]:
    return [mail.raw for mail in sink.store.mailbox.newest()][::-1]


async def test_a_mail_larger_than_the_best_host_takes_goes_to_one_that_takes_it(mail_hosts, make_sender, zone):
    sink = await mail_hosts({"mx1.b.example": {"size_limit": 5000}, "mx2.b.example": {}})
    zone.mx("b.example", "mx1.b.example", "mx2.b.example")
    sender = make_sender()

    large, small = await sender.send("b.example", text=LONG), await sender.send("b.example")

    assert (large.kind, large.attempt.host.partition("[")[0]) == (Kind.DELIVERED, "mx2.b.example")
    assert small.attempt.host.startswith("mx1.b.example")
    assert sink.store.stats().refused == 0, "nobody was asked for what it had said it would not take"


async def test_a_mail_larger_than_any_host_takes_fails_at_once(mail_hosts, make_sender, zone):
    sink = await mail_hosts({"mx1.b.example": {"size_limit": 5000}, "mx2.b.example": {"size_limit": 6000}})
    zone.mx("b.example", "mx1.b.example", "mx2.b.example")

    tried = await make_sender().send("b.example", text=LONG)

    assert (tried.kind, tried.attempt.bounce_class, tried.suppress) == (Kind.FAILED, "message_too_large", False)
    assert tried.attempt.trouble.startswith("5.3.4 The message has ")
    assert tried.attempt.trouble.endswith("the server takes 6000")
    assert sink.store.connections == 2


async def test_one_that_cannot_be_reached_keeps_no_mail_waiting_that_the_other_has_refused(
    mail_hosts, make_sender, zone
):
    await mail_hosts({"mx1.b.example": {"size_limit": 5000}})
    zone.a("mx2.b.example", "127.0.0.99")
    zone.mx("b.example", "mx1.b.example", "mx2.b.example")

    tried = await make_sender().send("b.example", text=LONG)

    assert (tried.kind, tried.attempt.bounce_class) == (Kind.FAILED, "message_too_large")


async def test_an_address_in_utf8_goes_to_the_host_that_takes_such_or_fails(mail_hosts, make_sender, zone):
    sink = await mail_hosts({"mx1.b.example": {"leaves_out": ["SMTPUTF8"]}, "mx2.b.example": {}})
    zone.mx("b.example", "mx1.b.example", "mx2.b.example")
    zone.mx("c.example", "mx1.b.example")
    sender = make_sender()

    there, nowhere = await sender.send("b.example", to="žluťoučký"), await sender.send("c.example", to="žluťoučký")

    assert (there.kind, there.attempt.host.partition("[")[0]) == (Kind.DELIVERED, "mx2.b.example")
    assert (nowhere.kind, nowhere.attempt.bounce_class) == (Kind.FAILED, "no_smtputf8")
    assert nowhere.attempt.trouble.startswith("5.6.7 ")
    assert [mail.recipients for mail in sink.store.mailbox.newest()] == [("žluťoučký@b.example".encode(),)]


async def test_a_header_with_such_an_address_needs_it_too(mail_hosts, make_sender, zone):
    """RFC 6531 §3.6: a mail to an ASCII address may be one that only SMTPUTF8 can carry."""
    sink = await mail_hosts({"mx1.b.example": {"leaves_out": ["SMTPUTF8"]}, "mx2.b.example": {}})
    zone.mx("b.example", "mx1.b.example", "mx2.b.example")
    zone.mx("c.example", "mx1.b.example")
    sender = make_sender()

    there = await sender.send("b.example", to="a", cc=("Žluť <žluť@b.example>",))
    nowhere = await sender.send("c.example", to="a", sender="žluť@a.example", envelope_sender="bounces@a.example")
    plain = await sender.send("c.example", to="a", cc=("Žluť <zlut@b.example>",), subject="Žluť")

    assert (there.kind, there.attempt.host.partition("[")[0]) == (Kind.DELIVERED, "mx2.b.example")
    assert (nowhere.kind, nowhere.attempt.bounce_class, nowhere.suppress) == (Kind.FAILED, "no_smtputf8", False)
    assert nowhere.attempt.trouble.startswith("5.6.9 An address in the mail's header needs SMTPUTF8")
    assert (plain.kind, plain.attempt.host.partition("[")[0]) == (Kind.DELIVERED, "mx1.b.example")
    last, first = raw(sink)[::-1]
    assert "Cc: =?utf-8?b?xb1sdcWl?= <žluť@b.example>".encode() in first
    assert last.isascii()
    assert sink.store.stats().protocol_errors == {}


async def test_what_is_not_offered_is_not_said(mail_hosts, make_sender):
    sink = await mail_hosts({"mx.a.example": {"leaves_out": ["SIZE", "8BITMIME", "PIPELINING"]}})

    tried = await make_sender().send("a.example", subject="Grüße", text="Grüße")

    assert tried.kind is Kind.DELIVERED
    assert sink.store.stats().protocol_errors == {}


@pytest.mark.parametrize("text", ["hello", "\n.hidden\n..twice\n.", LONG * 5], ids=["short", "dots", "long"])
@pytest.mark.parametrize("left_out", [[], ["PIPELINING"]], ids=["pipelined", "one by one"])
async def test_by_bdat_arrives_what_arrives_by_data(mail_hosts, make_sender, text, left_out):
    sink = await mail_hosts({"mx.a.example": {"chunking": True, "leaves_out": left_out}})
    by_bdat, by_data = make_sender(rows=CHUNKING), make_sender()

    for sender in (by_bdat, by_data):
        assert (await sender.send("a.example", text=text)).kind is Kind.DELIVERED

    one, other = (mail.partition(b"\r\n\r\n")[2] for mail in raw(sink))
    assert one == other
    assert sink.store.stats().protocol_errors == {}
    assert sink.store.stats().faults == {}


async def test_bdat_is_used_only_where_a_row_says_so_and_the_server_offers_it(mail_hosts, make_sender, monkeypatch):
    sink = await mail_hosts({"mx.a.example": {"chunking": True}, "mx.b.example": {}})
    asked = _count_bdat(monkeypatch)

    assert (await make_sender().send("a.example")).kind is Kind.DELIVERED
    assert (await make_sender(rows=CHUNKING).send("b.example")).kind is Kind.DELIVERED
    assert asked == []
    assert (await make_sender(rows=CHUNKING).send("a.example")).kind is Kind.DELIVERED
    assert len(asked) == 1
    assert sink.store.stats().accepted == 3


def _count_bdat(monkeypatch) -> list[bytes]:
    from mailwarren.sink.dialogue import Dialogue

    asked: list[bytes] = []
    take = Dialogue._bdat

    def bdat(self, argument: bytes) -> None:
        asked.append(argument)
        take(self, argument)

    monkeypatch.setattr(Dialogue, "_bdat", bdat)
    return asked


async def test_many_mails_follow_each_other_by_bdat_on_one_connection(mail_hosts, make_sender):
    sink = await mail_hosts({"mx.a.example": {"chunking": True}})
    sender = make_sender(rows=FEW)

    tries = await asyncio.gather(*(sender.send("a.example", to=f"u{number}") for number in range(50)))

    assert {tried.kind for tried in tries} == {Kind.DELIVERED}
    assert (sink.store.stats().unique, sink.store.stats().duplicates, sink.store.connections) == (50, 0, 1)
    assert sink.store.stats().protocol_errors == {}


@pytest.mark.parametrize(
    ("stage", "code", "kind"),
    [("rcpt", 550, Kind.FAILED), ("mail", 451, Kind.DEFERRED), ("data", 451, Kind.DEFERRED), ("dot", 554, Kind.FAILED)],
)
async def test_a_refusal_at_any_stage_leaves_a_connection_that_takes_the_next_mail(
    mail_hosts, make_sender, stage, code, kind
):
    rule = {"stage": stage, "code": code, "text": "the moon is wrong"}
    sink = await mail_hosts({"mx.a.example": {"chunking": True, "rules": [rule]}})
    sender = make_sender(rows=FEW)

    first = await sender.send("a.example")
    sink.play({"personas": [{"hosts": ["mx.a.example"], "chunking": True}]})
    second = await sender.send("a.example")

    assert (first.kind, first.attempt.reply.code) == (kind, code)
    assert second.kind is Kind.DELIVERED
    assert (sink.store.connections, sink.store.stats().protocol_errors) == (1, {})
