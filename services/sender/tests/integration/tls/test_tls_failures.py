"""Everything that can be wrong with a mail host's TLS: its class, its line, what reports call it, and who may go on."""

import asyncio

import pytest

from mailwarren.contracts.events import Kind
from mailwarren.contracts.reply import Command
from mailwarren.contracts.tls import TlsPolicy
from mailwarren.sender.shaping.shares import Shares
from mailwarren.sender.smtp import BrokenTls, Host, TlsProblem

REFUSING = {
    "tls": "valid",
    "rules": [{"stage": "starttls", "code": 454, "enhanced": "4.7.0", "text": "TLS not available"}],
}
BAD_CERTIFICATES = (
    ("expired", "tls_expired", "certificate has expired", "certificate-expired"),
    ("not_yet_valid", "tls_not_yet_valid", "certificate is not yet valid", "validation-failure"),
    ("self_signed", "tls_self_signed", "self-signed certificate", "certificate-not-trusted"),
    ("untrusted", "tls_untrusted", "unable to get local issuer certificate", "certificate-not-trusted"),
    ("wrong_name", "tls_wrong_name", "Hostname mismatch", "certificate-host-mismatch"),
)
NO_TLS = (
    ("none", "tls_not_offered", "STARTTLS is not offered", "starttls-not-supported"),
    ("broken", "tls_handshake", "TLS handshake: ", "validation-failure"),
    ("stalled", "tls_handshake", "TLS handshake: ", "validation-failure"),
    ("old_version", "tls_old_version", "TLS handshake: ", "validation-failure"),
)
VERIFY = b"[default]\ntls = 'verify'\n"
OFF = b"[default]\ntls = 'off'\n"


def results(tried) -> list[str]:
    return [session.result for session in tried.attempt.sessions]


@pytest.mark.parametrize(("kind", "name", "words", "report"), [*BAD_CERTIFICATES, *NO_TLS], ids=lambda value: value)
async def test_a_row_that_verifies_defers_each_with_its_class(mail_hosts, make_sender, kind, name, words, report):
    sink = await mail_hosts({"mx.a.example": {"tls": kind}})
    sender = make_sender(sink.certificates.pem, rows=VERIFY)

    tried = await sender.send("a.example")

    attempt = tried.attempt
    assert (tried.kind, attempt.bounce_class, tried.suppress, attempt.reply) == (Kind.DEFERRED, name, False, None)
    assert attempt.trouble.startswith("tls: ")
    assert words in attempt.trouble
    assert (attempt.site, attempt.host.partition("[")[0]) == ("a.example", "mx.a.example")
    assert (attempt.tls, attempt.tls_policy) == (None, "verify")
    (session,) = attempt.sessions
    assert (session.domain, session.policy, session.result) == ("a.example", TlsPolicy.NONE, report)
    assert (session.mx, session.ip) == ("mx.a.example", "127.0.0.2")
    assert sink.store.stats().received == 0


async def test_a_valid_certificate_is_taken_and_told_of(mail_hosts, make_sender):
    sink = await mail_hosts({"mx.a.example": {"tls": "valid"}})

    attempt = (await make_sender(sink.certificates.pem, rows=VERIFY).send("a.example")).attempt

    assert attempt.tls.startswith("TLSv1.3 TLS_")
    assert (attempt.tls_policy, attempt.bounce_class, attempt.trouble) == ("verify", None, None)
    assert [(one.policy, one.result) for one in attempt.sessions] == [(TlsPolicy.NONE, "")]


@pytest.mark.parametrize("kind", [kind for kind, *_ in BAD_CERTIFICATES])
async def test_a_mail_that_asks_for_tls_takes_any_certificate(mail_hosts, make_sender, kind):
    sink = await mail_hosts({"mx.a.example": {"tls": kind, "requires_tls": True}})

    tried = await make_sender(sink.certificates.pem).send("a.example", tls=True)

    assert (tried.kind, tried.attempt.tls_policy) == (Kind.DELIVERED, "required")
    assert tried.attempt.tls.startswith("TLSv1.")


@pytest.mark.parametrize("rows", [b"", OFF], ids=["opportunistic", "off"])
@pytest.mark.parametrize(("kind", "name", "words", "report"), NO_TLS, ids=lambda value: value)
async def test_a_mail_that_asks_for_tls_waits_where_there_is_none(
    mail_hosts, make_sender, rows, kind, name, words, report
):
    sink = await mail_hosts({"mx.a.example": {"tls": kind}})

    tried = await make_sender(sink.certificates.pem, rows=rows).send("a.example", tls=True)

    assert (tried.kind, tried.attempt.bounce_class) == (Kind.DEFERRED, name)
    assert words in tried.attempt.trouble
    assert (tried.attempt.tls_policy, results(tried)) == ("required", [report])
    assert sink.store.stats().received == 0


@pytest.mark.parametrize(("kind", "name", "words", "report"), NO_TLS, ids=lambda value: value)
async def test_other_mail_goes_on_in_the_clear_and_what_happened_is_told(
    mail_hosts, make_sender, kind, name, words, report
):
    sink = await mail_hosts({"mx.a.example": {"tls": kind}})

    tried = await make_sender(sink.certificates.pem).send("a.example")

    assert tried.kind is Kind.DELIVERED
    assert (tried.attempt.tls, tried.attempt.tls_policy, results(tried)) == (None, None, [report])


async def test_a_refused_starttls_is_the_servers_answer_and_has_its_class(mail_hosts, make_sender):
    sink = await mail_hosts({"mx.a.example": REFUSING})
    sender = make_sender(sink.certificates.pem)

    needs, other = await sender.send("a.example", tls=True), await sender.send("a.example")

    assert (needs.kind, needs.attempt.bounce_class) == (Kind.DEFERRED, "tls_refused")
    assert (needs.attempt.reply.code, needs.attempt.reply.command) == (454, Command.STARTTLS)
    assert (other.kind, other.attempt.tls) == (Kind.DELIVERED, None)
    assert results(needs) == results(other) == ["validation-failure"]


async def test_a_mail_that_cannot_have_its_tls_stands_in_nobodys_way(mail_hosts, make_sender):
    sink = await mail_hosts({"mx.a.example": {"tls": "none"}})
    sender = make_sender(sink.certificates.pem)

    first = await sender.send("a.example", tls=True)
    held = await sender.send("a.example", tls=True)
    dials = sink.store.connections
    other = await sender.send("a.example")

    assert first.attempt.bounce_class == held.attempt.bounce_class == "tls_not_offered"
    assert dials == 1, "the host is left alone by mail like it"
    assert held.attempt.sessions == (), "told once"
    assert other.kind is Kind.DELIVERED


async def test_the_breaker_hears_of_no_failure_that_only_some_mail_has(mail_hosts, make_sender, monkeypatch):
    told: list[str] = []
    monkeypatch.setattr(Shares, "no_session", lambda _, site, failure: told.append(f"{site.name} {failure.reason}"))
    sink = await mail_hosts({"mx.a.example": {"tls": "none"}, "mx.b.example": {"tls": "none"}})

    await make_sender(sink.certificates.pem).send("a.example", tls=True)
    assert told == []
    await make_sender(sink.certificates.pem, rows=b"[default]\ntls = 'required'\n").send("b.example")
    assert told == ["b.example tls"], "what its row asks for holds for all of its mail"


class Clock:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("kind", ["broken", "old_version"])
async def test_a_host_whose_handshake_breaks_is_spoken_to_in_the_clear_for_an_hour(mail_hosts, make_sender, kind):
    clock = Clock()
    broken = BrokenTls(clock=clock)
    sink = await mail_hosts({"mx.a.example": {"tls": kind}})
    sender = make_sender(sink.certificates.pem, broken=broken)

    async def dials(**options) -> int:
        before = sink.store.connections
        assert (await sender.send("a.example", **options)).kind is Kind.DELIVERED
        return sink.store.connections - before

    assert await dials() == 2, "one for the handshake, one in the clear"
    assert await dials() == 1, "remembered"
    (entry,) = sender.pool.broken_tls()
    assert entry.host.startswith("mx.a.example[127.0.0.2]")
    assert entry.problem in {TlsProblem.HANDSHAKE, TlsProblem.OLD_VERSION}
    assert entry.until == clock.now + 3600
    assert (await sender.send("a.example", tls=True)).attempt.bounce_class.startswith("tls_"), "never where required"
    clock.now += 3601
    assert sender.pool.broken_tls() == ()
    assert await dials() == 2, "tried again"


async def test_what_is_remembered_is_forgotten_when_tls_works_for_mail_that_needs_it(mail_hosts, make_sender):
    broken = BrokenTls()
    sink = await mail_hosts({"mx.a.example": {"tls": "broken"}})
    sender = make_sender(sink.certificates.pem, broken=broken)
    await sender.send("a.example")
    assert len(broken) == 1

    sink.play({"personas": [{"hosts": ["mx.a.example"], "tls": "valid"}]})
    assert (await sender.send("a.example")).attempt.tls is None
    assert (await sender.send("a.example", tls=True)).attempt.tls is not None

    assert len(broken) == 0
    assert (await sender.send("a.example")).attempt.tls is not None


async def test_a_host_that_is_down_is_not_remembered_as_one_with_broken_tls(mail_hosts, make_sender):
    sink = await mail_hosts({"mx.a.example": {"tls": "valid"}})
    sender = make_sender(sink.certificates.pem)
    await sink.stop()

    assert (await sender.send("a.example")).attempt.bounce_class == "no_answer"
    assert sender.pool.broken_tls() == ()


def test_the_memory_is_bounded_and_the_first_leave_first():
    memory = BrokenTls()
    for number in range(10_001):
        memory.broke(Host(f"h{number}", 25, "192.0.2.1"), TlsProblem.HANDSHAKE)

    assert len(memory) == 10_000
    assert not memory.holds(Host("h0", 25, "192.0.2.1"))
    assert memory.holds(Host("h1", 25, "192.0.2.1"))
    assert not memory.holds(Host("h1", 25, "192.0.2.2"))


async def test_a_backup_whose_tls_is_good_takes_what_the_best_host_cannot_have(mail_hosts, make_sender, zone):
    sink = await mail_hosts({"mx1.b.example": {"tls": "expired"}, "mx2.b.example": {"tls": "valid"}})
    zone.mx("b.example", "mx1.b.example", "mx2.b.example")

    attempt = (await make_sender(sink.certificates.pem, rows=VERIFY).send("b.example")).attempt

    assert attempt.host.startswith("mx2.b.example[127.0.0.3]")
    assert [(one.mx, one.result) for one in attempt.sessions] == [
        ("mx1.b.example", "certificate-expired"), ("mx2.b.example", ""),
    ]  # fmt: skip


async def test_a_session_is_told_once_by_the_first_mail_on_it(mail_hosts, make_sender):
    sink = await mail_hosts({"mx.a.example": {"tls": "valid"}})
    sender = make_sender(sink.certificates.pem, rows=b"[default]\nmessages_per_connection = 50\nconnections = 1\n")

    tries = await asyncio.gather(*(sender.send("a.example", to=f"u{number}") for number in range(20)))

    assert sum(len(tried.attempt.sessions) for tried in tries) == sink.store.connections == 1
    assert all(tried.attempt.tls for tried in tries)
