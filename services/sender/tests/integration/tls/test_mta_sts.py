"""MTA-STS against a real web server, name server and mail hosts (RFC 8461)."""

import asyncio

import pytest

from mailwarren.contracts.events import Kind
from mailwarren.contracts.tls import TlsPolicy
from mailwarren.sender.smtp import Resolver, StsCache, TlsContexts, stscache
from mailwarren.sender.transmit import Tried

ANNOUNCED = "v=STSv1; id=1;"
ENFORCE = ("mode: enforce", "mx: mx.a.example", "max_age: 86400")


class Clock:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def announce(zone, web):
    """Let a domain have a policy: ``announce("a.example", *ENFORCE)``."""

    def make(domain, *lines, **page):
        zone.txt(f"_mta-sts.{domain}", ANNOUNCED)
        zone.a(f"mta-sts.{domain}", "127.0.0.1")
        return web.policy(domain, *lines, **page)

    return make


async def next_mail(sender) -> Tried:
    """A mail after the record's time is over, and after what that mail has begun is done."""
    for _ in range(2):
        sender.policies._domains._entries.clear()
        sender.pool._health._troubles.clear()
        tried = await sender.send("a.example")
        await asyncio.gather(*sender.policies._renewing.values())
    return tried


async def test_an_enforced_policy_is_kept_and_told_of(mail_hosts, make_sender, web, announce):
    sink = await mail_hosts({"mx.a.example": {"tls": "valid"}})
    announce("a.example", *ENFORCE)
    sender = make_sender(sink.certificates.pem, web.pem, sts_port=web.port)

    attempt = (await sender.send("a.example")).attempt

    assert attempt.tls.startswith("TLSv1.3")
    assert attempt.tls_policy == "mta-sts"
    (session,) = attempt.sessions
    assert (session.policy, session.result, session.mx_host) == (TlsPolicy.STS, "", ("mx.a.example",))
    assert session.policy_string == ("version: STSv1", *ENFORCE)
    assert (sender.fetches, web.asked) == (["ok"], ["mta-sts.a.example"])


@pytest.mark.parametrize(
    ("kind", "name", "report"),
    [
        ("expired", "tls_expired", "certificate-expired"),
        ("self_signed", "tls_self_signed", "certificate-not-trusted"),
        ("wrong_name", "tls_wrong_name", "certificate-host-mismatch"),
        ("none", "tls_not_offered", "starttls-not-supported"),
        ("broken", "tls_handshake", "validation-failure"),
        ("old_version", "tls_old_version", "validation-failure"),
    ],
)
async def test_an_enforced_policy_that_is_not_kept_defers(mail_hosts, make_sender, web, announce, kind, name, report):
    sink = await mail_hosts({"mx.a.example": {"tls": kind}})
    announce("a.example", *ENFORCE)
    sender = make_sender(sink.certificates.pem, web.pem, sts_port=web.port, rows=b"[default]\ntls = 'off'\n")

    tried = await sender.send("a.example")

    assert (tried.kind, tried.attempt.bounce_class) == (Kind.DEFERRED, name)
    assert tried.attempt.tls_policy == "mta-sts"
    assert [(one.policy, one.result) for one in tried.attempt.sessions] == [(TlsPolicy.STS, report)]
    assert sink.store.stats().received == 0


async def test_hosts_that_the_policy_does_not_name_get_nothing(mail_hosts, make_sender, web, announce, zone):
    sink = await mail_hosts({"mx1.b.example": {"tls": "valid"}, "mx2.c.example": {"tls": "valid"}})
    zone.mx("a.example", "mx1.b.example", "mx2.c.example")
    announce("a.example", "mode: enforce", "mx: *.c.example", "max_age: 86400")
    sender = make_sender(sink.certificates.pem, web.pem, sts_port=web.port)
    assert (await sender.send("a.example")).attempt.host.startswith("mx2.c.example")

    announce("b.example", "mode: enforce", "mx: *.example", "max_age: 86400")
    zone.mx("b.example", "mx1.b.example", "mx2.c.example")
    tried = await sender.send("b.example")

    assert (tried.kind, tried.attempt.bounce_class) == (Kind.DEFERRED, "tls_sts_mx"), "a wildcard is one label"
    assert tried.attempt.trouble == "tls: the MTA-STS policy of b.example names none of its mail hosts"
    assert [(one.mx, one.result) for one in tried.attempt.sessions] == [
        ("mx1.b.example", "validation-failure"), ("mx2.c.example", "validation-failure"),
    ]  # fmt: skip
    assert (await sender.send("b.example")).attempt.sessions == ()
    assert sink.store.stats().received == 1


@pytest.mark.parametrize(("kind", "report"), [("expired", "certificate-expired"), ("none", "starttls-not-supported")])
async def test_a_policy_in_testing_is_reported_and_stops_nothing(mail_hosts, make_sender, web, announce, kind, report):
    sink = await mail_hosts({"mx.a.example": {"tls": kind}})
    announce("a.example", "mode: testing", "mx: mx.a.example", "max_age: 86400")

    tried = await make_sender(sink.certificates.pem, web.pem, sts_port=web.port).send("a.example")

    assert (tried.kind, tried.attempt.tls_policy) == (Kind.DELIVERED, "mta-sts testing")
    assert tried.attempt.sessions[0].result == report
    assert {one.policy for one in tried.attempt.sessions} == {TlsPolicy.STS}
    assert (tried.attempt.tls is None) == (kind == "none"), "without a valid certificate TLS still beats plain text"


async def test_a_policy_of_none_is_none(mail_hosts, make_sender, web, announce):
    sink = await mail_hosts({"mx.a.example": {"tls": "none"}})
    announce("a.example", "mode: none", "max_age: 86400")
    sender = make_sender(sink.certificates.pem, web.pem, sts_port=web.port)

    attempt = (await sender.send("a.example")).attempt

    assert (attempt.tls_policy, attempt.sessions[0].policy, sender.fetches) == (None, TlsPolicy.NONE, ["ok"])


BAD_PAGES = {
    "missing": ({"status": "404 Not Found"}, "sts-policy-fetch-error"),
    "redirect": ({"status": "301 Moved", "more": "Location: https://mta-sts.b.example/\r\n"}, "sts-policy-fetch-error"),
    "html": ({"kind": "text/html"}, "sts-policy-fetch-error"),
    "too large": ({"body": b"version: STSv1\n" + b"x: y\n" * 20_000}, "sts-policy-invalid"),
    "not a policy": ({"body": b"hello"}, "sts-policy-invalid"),
    "no mx": ({"body": b"version: STSv1\nmode: enforce\nmax_age: 1\n"}, "sts-policy-invalid"),
    "too slow": ({"wait": 1.0}, "sts-policy-fetch-error"),
    "untrusted": ({}, "sts-webpki-invalid"),
}


@pytest.mark.parametrize(("page", "result"), list(BAD_PAGES.values()), ids=list(BAD_PAGES))
async def test_a_policy_that_cannot_be_had_is_counted_and_the_mail_goes_on(
    mail_hosts, make_sender, web, announce, monkeypatch, page, result
):
    monkeypatch.setattr(stscache, "FETCH_TIMEOUT", 0.4)
    sink = await mail_hosts({"mx.a.example": {"tls": "expired"}})
    announce("a.example", *ENFORCE, **page)
    if result == "sts-webpki-invalid":
        web.untrusted.add("mta-sts.a.example")
    sender = make_sender(sink.certificates.pem, web.pem, sts_port=web.port)

    first, second = await sender.send("a.example"), await sender.send("a.example")

    assert (first.kind, first.attempt.tls_policy) == (Kind.DELIVERED, "mta-sts unavailable")
    assert second.attempt.tls_policy == "mta-sts unavailable", "its line in the timeline, as long as that holds"
    assert first.attempt.tls is not None
    trouble, session = first.attempt.sessions
    assert (trouble.domain, trouble.policy, trouble.result) == ("a.example", TlsPolicy.STS, result)
    assert trouble.text
    assert (session.policy, session.result) == (TlsPolicy.NONE, "")
    assert [one.result for one in second.attempt.sessions] == [""], "told once, and not fetched again for minutes"
    assert (await sender.send("a.example", tls=True)).attempt.tls_policy == "required"
    assert sender.fetches == [result]


async def test_a_web_server_without_a_public_address_is_not_asked(zone, web, announce, tmp_path):
    announce("a.example", *ENFORCE)
    resolver = Resolver([zone.address], private=False)
    results: list[str] = []
    policies = StsCache(resolver, TlsContexts().verifying, port=web.port, fetched=results.append)

    known = await policies.policy("a.example")

    assert (known.policy, results, web.asked) == (None, ["sts-policy-fetch-error"], [])
    assert "public network" in known.trouble[0].text
    await policies.close()
    await resolver.close()


async def test_a_cached_policy_holds_whatever_dns_and_web_server_say_until_its_time_is_over(
    mail_hosts, make_sender, zone, web, announce
):
    clock = Clock()
    sink = await mail_hosts({"mx.a.example": {"tls": "valid"}})
    announce("a.example", *ENFORCE)
    sender = make_sender(sink.certificates.pem, web.pem, sts_port=web.port, clock=clock)
    await sender.send("a.example")
    sink.play({"personas": [{"hosts": ["mx.a.example"], "tls": "expired"}]})

    assert (await next_mail(sender)).attempt.bounce_class == "tls_expired"
    zone.txt("_mta-sts.a.example", None)
    assert (await next_mail(sender)).attempt.bounce_class == "tls_expired", "no record any more"
    zone.broken.add("_mta-sts.a.example")
    assert (await next_mail(sender)).attempt.bounce_class == "tls_expired", "no answer"
    zone.broken.clear()
    zone.txt("_mta-sts.a.example", "v=STSv1; id=2;")
    web.pages.clear()
    assert sender.fetches == ["ok"]
    tried = await next_mail(sender)
    assert tried.attempt.bounce_class == "tls_expired", "a new one that cannot be had"
    assert sender.fetches == ["ok", "sts-policy-fetch-error"], "and is not tried with every mail"
    clock.now += 301
    await next_mail(sender)
    assert sender.fetches == ["ok", *["sts-policy-fetch-error"] * 2]
    clock.now += 86_401
    assert (await next_mail(sender)).attempt.bounce_class is None, "its time is over"


async def test_a_new_id_brings_the_new_policy_and_an_old_one_is_fetched_once_a_day(
    mail_hosts, make_sender, zone, web, announce
):
    clock = Clock()
    sink = await mail_hosts({"mx.a.example": {"tls": "expired"}})
    announce("a.example", "mode: enforce", "mx: mx.a.example", "max_age: 604800")
    sender = make_sender(sink.certificates.pem, web.pem, sts_port=web.port, clock=clock)
    assert (await sender.send("a.example")).kind is Kind.DEFERRED

    web.policy("a.example", "mode: none", "max_age: 604800", wait=0.3)
    assert (await next_mail(sender)).kind is Kind.DEFERRED
    assert sender.fetches == ["ok"], "the id is the same"

    zone.txt("_mta-sts.a.example", "v=STSv1; id=2;")
    assert (await next_mail(sender)).kind is Kind.DELIVERED
    assert sender.fetches == ["ok", "ok"]
    clock.now += 86_401
    assert (await next_mail(sender)).kind is Kind.DELIVERED
    assert sender.fetches == ["ok", "ok", "ok"]


async def test_a_policy_that_holds_for_hours_is_fetched_anew_before_it_runs_out(mail_hosts, make_sender, web, announce):
    clock = Clock()
    sink = await mail_hosts({"mx.a.example": {"tls": "valid"}})
    announce("a.example", "mode: enforce", "mx: mx.a.example", "max_age: 7200")
    sender = make_sender(sink.certificates.pem, web.pem, sts_port=web.port, clock=clock)
    await sender.send("a.example")

    clock.now += 3500
    await next_mail(sender)
    assert sender.fetches == ["ok"]
    clock.now += 101
    await next_mail(sender)
    assert sender.fetches == ["ok", "ok"], "at half of its time"
    clock.now += 3700
    assert (await next_mail(sender)).attempt.tls_policy == "mta-sts", "there was no time without one"


async def test_no_mail_waits_for_a_newer_policy_and_its_failure_is_told(mail_hosts, make_sender, zone, web, announce):
    sink = await mail_hosts({"mx.a.example": {"tls": "valid"}})
    announce("a.example", *ENFORCE)
    sender = make_sender(sink.certificates.pem, web.pem, sts_port=web.port)
    await sender.send("a.example")
    zone.txt("_mta-sts.a.example", "v=STSv1; id=2;")
    announced = web.policy("a.example", *ENFORCE, wait=0.5, status="500 Oops")
    sender.policies._domains._entries.clear()

    async with asyncio.timeout(announced.wait):
        first = await sender.send("a.example")
    assert (first.attempt.tls_policy, first.kind) == ("mta-sts", Kind.DELIVERED)
    await asyncio.gather(*sender.policies._renewing.values())
    second = await sender.send("a.example")

    assert [one.result for one in first.attempt.sessions] == [""]
    assert [one.result for one in second.attempt.sessions] == ["sts-policy-fetch-error", ""]


async def test_many_mails_ask_once(mail_hosts, make_sender, zone, web, announce):
    sink = await mail_hosts({"mx.a.example": {"tls": "valid"}})
    announce("a.example", *ENFORCE, wait=0.2)
    sender = make_sender(sink.certificates.pem, web.pem, sts_port=web.port)

    tries = await asyncio.gather(*(sender.send("a.example", to=f"u{number}") for number in range(20)))

    assert {tried.attempt.tls_policy for tried in tries} == {"mta-sts"}
    assert (web.asked, zone.asked["_mta-sts.a.example", "TXT"]) == (["mta-sts.a.example"], 1)


async def test_a_domain_without_a_policy_shares_no_connection_with_one_that_has_one(
    mail_hosts, make_sender, zone, web, announce
):
    sink = await mail_hosts({"mx.a.example": {"tls": "expired"}})
    zone.mx("b.example", "mx.a.example")
    announce("a.example", *ENFORCE)
    sender = make_sender(
        sink.certificates.pem, web.pem, sts_port=web.port, rows=b"[default]\nmessages_per_connection = 50\n"
    )

    assert (await sender.send("b.example")).kind is Kind.DELIVERED
    assert (await sender.send("a.example")).attempt.bounce_class == "tls_expired"
    assert (await sender.send("b.example")).kind is Kind.DELIVERED
