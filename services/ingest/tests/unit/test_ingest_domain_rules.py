"""Sending domains: names, which domain signs for a sender, the records and what is wrong with them, the state."""

import base64
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwarren.contracts.dkim import ED25519, RSA
from mailwarren.ingest.adapters.dkim_keys import make_key
from mailwarren.ingest.domain.dmarc import Dmarc, align, dmarc_records, places, read_record
from mailwarren.ingest.domain.dns_records import (
    Found,
    KeyFacts,
    Purpose,
    Site,
    Wanted,
    dmarc_problem,
    judge,
    key_problem,
    key_record,
    mx_problem,
    wanted_records,
)
from mailwarren.ingest.domain.domain_checks import GRACE, Standing, conclude, next_check, seen_keys
from mailwarren.ingest.domain.domains import SendingDomain, check_domain, check_return_path, domain_for
from mailwarren.ingest.domain.refusal import Refusal
from mailwarren.ingest.domain.spf import Spf, Term, parse_record, spf_problem, spf_records, wanted_terms
from mailwarren.ingest.domain.tag_list import parse_tags
from mailwarren.store.states import DomainState, KeyState

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SITE = Site(tuple(wanted_terms("include:_spf.mail.test ip4:192.0.2.10")), "bounces.mail.test")


def domains(*names: str, **changes: object) -> dict[str, SendingDomain]:
    return {name: SendingDomain(UUID(int=1), name, verified=True, **changes) for name in names}  # type: ignore[arg-type]


def facts(state: KeyState = KeyState.ACTIVE, algorithm: str = ED25519, **changes: object) -> KeyFacts:
    key = make_key(algorithm)
    return KeyFacts(key.selector, algorithm, state, key.public, NOW, **changes)  # type: ignore[arg-type]


# Names


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("example.com", "example.com"),
        (" Example.COM. ", "example.com"),
        ("news.example.co.uk", "news.example.co.uk"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_names_become_lower_case_a_labels(given: str, name: str) -> None:
    assert check_domain(given) == name


NO_NAMES = [
    "",
    " ",
    "com",
    "ada@example.com",
    "exa mple.com",
    "-a.com",
    "a..com",
    "x" * 64 + ".com",
    "a." * 115 + "com",
]


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_domain_is_refused(name: str) -> None:
    with pytest.raises(Refusal, match="`name`") as caught:
        check_domain(name)
    assert caught.value.status == 422


def test_return_paths_are_names_below_the_domain() -> None:
    host = "bounces.mail.test"
    assert check_return_path("Bounce", "example.com", bounce_host=host) == "bounce"
    assert check_return_path("a.b.example.com", "example.com", bounce_host=host) == "a.b"
    for wrong in ("", "a b", "-", "a@b", "x" * 64, "a." * 122 + "a"):
        with pytest.raises(Refusal, match="custom_return_path"):
            check_return_path(wrong, "example.com", bounce_host=host)
    with pytest.raises(Refusal, match="MAILWARREN_BOUNCE_HOST"):
        check_return_path("bounce", "example.com", bounce_host="")


# Which domain signs


def test_the_nearest_domain_signs() -> None:
    known = domains("example.com", "news.example.com")
    for sender, signer in (
        ("example.com", "example.com"),
        ("news.example.com", "news.example.com"),
        ("de.news.example.com", "news.example.com"),
        ("shop.example.com", "example.com"),
    ):
        found = domain_for(known, sender)
        assert found is not None
        assert found.name == signer
    for sender in ("notexample.com", "com", "example.org", "example.com.evil.test", ""):
        assert domain_for(known, sender) is None


def test_a_strict_domain_signs_for_itself_alone() -> None:
    known = domains("example.com", strict=True)
    assert domain_for(known, "example.com") is not None
    assert domain_for(known, "news.example.com") is None


# DKIM


def test_a_key_record_is_as_the_rfcs_have_it() -> None:
    rsa, ed = make_key(RSA), make_key(ED25519)
    assert key_record(RSA, rsa.public).startswith("v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A")
    tags = parse_tags(key_record(ED25519, ed.public))
    assert tags is not None
    assert (tags["k"], len(base64.b64decode(tags["p"]))) == ("ed25519", 32)
    assert str(rsa.private) not in repr(rsa)
    assert rsa.selector != make_key(RSA).selector


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda text: [text], None),
        (lambda text: [text.replace("v=DKIM1; ", "")], None),
        (lambda text: [text.replace(" ", "")], None),
        (lambda text: [text.replace("p=", "p= ").replace("A", "A \t", 1)], None),
        (lambda text: [f"{text}; t=s; n=a note; h=sha1:sha256; s=email"], None),
        (lambda _: [], "There is no TXT record"),
        (lambda text: [text, text], "There are 2 TXT records"),
        (lambda _: ["hello"], "is no DKIM key"),
        (lambda text: [f"{text}; p=x"], "is no DKIM key"),
        (lambda text: [text.replace("DKIM1", "DKIM2")], "is no DKIM key"),
        (lambda text: [text[: text.index("p=") + 2]], "was revoked"),
        (lambda text: [text.replace("k=rsa", "k=ed25519")], "`k=` is not `rsa`"),
        (lambda text: [text[:200]], "it ends after"),
        (lambda text: [text.replace("p=", "p=xx")], "there is more before or after it"),
        (lambda text: [text.replace("p=MI", "p=MX")], "begins with `MXIB"),
        (lambda text: [f"{text}; h=sha1"], "does not allow `sha256`"),
        (lambda text: [f"{text}; s=tlsrpt"], "is not for mail"),
    ],
)
def test_a_key_record_is_read_as_a_verifier_reads_it(change, why) -> None:
    key = facts(algorithm=RSA)
    (wanted, *_) = wanted_records("example.com", "send", [key], Site())
    problem = key_problem(wanted, Found(tuple(change(wanted.value))))
    assert (problem is None) == (why is None)
    assert why is None or why in str(problem)


@given(st.text(max_size=60))
def test_any_text_in_a_key_record_is_judged(text: str) -> None:
    (wanted, *_) = wanted_records("example.com", "send", [facts()], Site())
    assert key_problem(wanted, Found((text,)))


# The records


def test_the_records_of_a_domain() -> None:
    active, waiting, old = facts(algorithm=RSA), facts(KeyState.NEXT), facts(KeyState.RETIRED, named_until=NOW)
    records = wanted_records("example.com", "send", [active, waiting, old], SITE)
    assert [(one.purpose, one.type, one.name, one.needed) for one in records] == [
        (Purpose.DKIM, "TXT", f"{active.selector}._domainkey.example.com", True),
        (Purpose.DKIM, "TXT", f"{waiting.selector}._domainkey.example.com", False),
        (Purpose.DKIM, "TXT", f"{old.selector}._domainkey.example.com", False),
        (Purpose.BOUNCES, "MX", "send.example.com", True),
        (Purpose.SPF, "TXT", "send.example.com", True),
        (Purpose.DMARC, "TXT", "_dmarc.example.com", False),
    ]
    assert records[4].value == "v=spf1 include:_spf.mail.test ip4:192.0.2.10 ~all"


def test_without_a_bounce_host_spf_stands_at_the_domain_and_without_mechanisms_nowhere() -> None:
    records = wanted_records("example.com", "send", [], Site(SITE.spf))
    assert [(one.purpose, one.name) for one in records] == [
        (Purpose.SPF, "example.com"),
        (Purpose.DMARC, "_dmarc.example.com"),
    ]
    assert [one.purpose for one in wanted_records("example.com", "send", [], Site())] == [Purpose.DMARC]


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (["10 bounces.mail.test"], None),
        (["10 bounces.mail.test", "10 other.test", "20 third.test"], None),
        (["5 Bounces.Mail.Test."], None),
        ([], "no MX record"),
        (["10 other.test"], "None of the MX records names bounces.mail.test"),
        (["10 bounces.mail.test", "5 other.test"], "go to other.test first"),
    ],
)
def test_mx_records(values: list[str], why: str | None) -> None:
    (wanted,) = [one for one in wanted_records("example.com", "send", [], SITE) if one.purpose is Purpose.BOUNCES]
    problem = mx_problem(wanted, Found(tuple(values)))
    assert (problem is None) == (why is None)
    assert why is None or why in str(problem)


# SPF


@pytest.mark.parametrize(
    ("record", "terms"),
    [
        ("v=spf1 -all", [Term("all", "", "-")]),
        ("v=spf1 A mx/24 a:Host.Test/28//64", [Term("a", ""), Term("mx", "/24"), Term("a", "Host.Test/28//64")]),
        ("v=spf1 ip6:2001:db8::/32 ?all", [Term("ip6", "2001:db8::/32"), Term("all", "", "?")]),
        ("v=spf1 redirect=_spf.test exp=why.test", [Term("redirect", "_spf.test"), Term("exp", "why.test")]),
        ("v=spf1 exists:%{i}._spf.test ~all", [Term("exists", "%{i}._spf.test"), Term("all", "", "~")]),
        ("v=spf1 inlcude:typo.test -all", None),
        ("v=spf1 192.0.2.1 -all", None),
    ],
)
def test_spf_records_are_parsed(record: str, terms: list[Term] | None) -> None:
    assert parse_record(record) == terms


def test_only_spf_records_are_spf_records() -> None:
    texts = ["v=spf1", "V=SPF1 -all", "v=spf10 -all", "v=spf1-all", "google-site-verification=x", "spf2.0/pra"]
    assert spf_records(texts) == ["v=spf1", "V=SPF1 -all"]


@pytest.mark.parametrize("wrong", ["all", "-ip4:192.0.2.1", "redirect=x.test", "nonsense", "192.0.2.10"])
def test_the_setting_has_mechanisms_that_pass(wrong: str) -> None:
    with pytest.raises(ValueError, match="mechanisms of SPF"):
        wanted_terms(wrong)


PASSES = frozenset(term.same for term in SITE.spf)


@pytest.mark.parametrize(
    ("spf", "why"),
    [
        (Spf(("r",), PASSES, 3, "~all"), None),
        (Spf(("r",), PASSES, 10, "-all"), None),
        (Spf((), PASSES), "There is no SPF record"),
        (Spf(("r", "s"), PASSES), "There are 2 SPF records"),
        (Spf(("r",), PASSES, 11), "more than 10 lookups"),
        (Spf(("r",), PASSES, 1, broken="It is broken."), "It is broken."),
        (Spf(("r",), frozenset(list(PASSES)[:1]), 1), "does not pass our servers: it lacks `i"),
        (Spf(("r",), PASSES, 1, "+all"), "passes everybody's mail"),
    ],
)
def test_what_is_wrong_with_spf(spf: Spf, why: str | None) -> None:
    problem = spf_problem(spf, SITE.spf, "send.example.com")
    assert (problem is None) == (why is None)
    assert why is None or why in str(problem)


@pytest.mark.parametrize(
    ("passed", "enough"),
    [
        ("ip4:192.0.2.10/32 ip6:2001:db8:0::1", True),
        ("ip4:192.0.2.0/24 ip6:2001:db8::/32", True),
        ("ip4:0.0.0.0/0 ip6:2001:DB8::1", True),
        ("ip4:192.0.2.11 ip6:2001:db8::1", False),
        ("ip4:192.0.2.128/25 ip6:2001:db8::1", False),
        ("ip4:192.0.2.10", False),
        ("ip4:junk ip6:2001:db8::1", False),
    ],
)
def test_a_network_around_our_servers_passes_them(passed: str, enough: bool) -> None:
    terms = parse_record(f"v=spf1 {passed}")
    assert terms is not None
    spf = Spf(("r",), frozenset(term.same for term in terms))
    problem = spf_problem(spf, wanted_terms("ip4:192.0.2.10 ip6:2001:db8::1"), "send.example.com")
    assert (problem is None) == enough


# DMARC


def test_dmarc_is_looked_for_upwards_but_not_at_the_top() -> None:
    assert places("a.b.example.com") == [
        "_dmarc.a.b.example.com", "_dmarc.b.example.com", "_dmarc.example.com",
    ]  # fmt: skip
    assert places("example.com") == ["_dmarc.example.com"]


@pytest.mark.parametrize(
    ("record", "read"),
    [
        ("v=DMARC1; p=none;", Dmarc("at", "none")),
        ("v=DMARC1;p=REJECT;adkim=S; aspf=r", Dmarc("at", "reject", strict_dkim=True)),
        ("v=DMARC1; p=quarantine; aspf=s; rua=mailto:a@b.test", Dmarc("at", "quarantine", strict_spf=True)),
        ("v=DMARC1; p=later", None),
        ("v=DMARC1", None),
        ("v=DMARC1; p=none; p=reject", None),
    ],
)
def test_dmarc_records_are_read(record: str, read: Dmarc | None) -> None:
    assert read_record(record, "at") == read


def test_what_is_wrong_with_dmarc() -> None:
    texts = ["v=DMARC1; p=none", "v=spf1 -all", "p=none; v=DMARC1"]
    assert dmarc_records(texts) == texts[:1]
    assert dmarc_problem(texts[:1], read_record(texts[0], "at"), "at") is None
    assert "no DMARC record" in str(dmarc_problem([], None, "at"))
    assert "2 DMARC records" in str(dmarc_problem(texts[:1] * 2, None, "at"))
    assert "do not understand" in str(dmarc_problem(["v=DMARC1"], None, "at"))


@pytest.mark.parametrize(
    ("dmarc", "envelope", "spf", "subdomains"),
    [
        (None, "send.example.com", True, True),
        (Dmarc("at", "reject"), "send.example.com", True, True),
        (Dmarc("at", "reject", strict_dkim=True, strict_spf=True), "send.example.com", False, False),
        (Dmarc("at", "reject", strict_spf=True), "example.com", True, True),
        (None, "other.test", False, True),
    ],
)
def test_alignment(dmarc: Dmarc | None, envelope: str, spf: bool, subdomains: bool) -> None:
    found = align("example.com", envelope, dmarc)
    assert (found.dkim, found.spf, found.subdomains) == (True, spf, subdomains)


# What follows


def looked(**states: DomainState) -> list:
    """Findings by purpose; what is not named was found."""
    records = wanted_records("example.com", "send", [facts(), facts(KeyState.NEXT, RSA)], SITE)
    names = {Purpose.DKIM: "dkim", Purpose.BOUNCES: "mx", Purpose.SPF: "spf", Purpose.DMARC: "dmarc"}

    def finding(wanted: Wanted):
        name = "waiting" if wanted.key and wanted.key.state is KeyState.NEXT else names[wanted.purpose]
        state = states.get(name, DomainState.VERIFIED)
        found = Found(trouble="no answer" if state is DomainState.TEMPORARY_FAILURE else None)
        return judge(wanted, found, "wrong" if state is DomainState.FAILED else None)

    return [(wanted, finding(wanted)) for wanted in records]


BAD, MUTE = DomainState.FAILED, DomainState.TEMPORARY_FAILURE


@pytest.mark.parametrize(
    ("before", "age", "since", "states", "after"),
    [
        (DomainState.NOT_STARTED, 0, None, {}, DomainState.VERIFIED),
        (DomainState.NOT_STARTED, 0, None, {"dkim": BAD}, DomainState.PENDING),
        (DomainState.NOT_STARTED, 0, None, {"dkim": MUTE}, DomainState.PENDING),
        (DomainState.NOT_STARTED, 0, None, {"dmarc": BAD, "waiting": BAD}, DomainState.VERIFIED),
        (DomainState.PENDING, 71, None, {"spf": BAD}, DomainState.PENDING),
        (DomainState.PENDING, 72, None, {"spf": BAD}, DomainState.FAILED),
        (DomainState.VERIFIED, 999, None, {"mx": BAD}, DomainState.TEMPORARY_FAILURE),
        (DomainState.VERIFIED, 999, None, {"mx": MUTE, "dkim": MUTE}, DomainState.VERIFIED),
        (DomainState.TEMPORARY_FAILURE, 999, 71, {"mx": BAD}, DomainState.TEMPORARY_FAILURE),
        (DomainState.TEMPORARY_FAILURE, 999, 72, {"mx": BAD}, DomainState.FAILED),
        (DomainState.TEMPORARY_FAILURE, 999, 72, {"mx": MUTE}, DomainState.TEMPORARY_FAILURE),
        (DomainState.TEMPORARY_FAILURE, 999, 71, {}, DomainState.VERIFIED),
        (DomainState.FAILED, 999, 99, {"dkim": BAD}, DomainState.FAILED),
        (DomainState.FAILED, 999, 99, {}, DomainState.VERIFIED),
    ],
)
def test_the_state_of_a_domain(before, age, since, states, after) -> None:
    failing = None if since is None else NOW - timedelta(hours=since)
    verdict = conclude(Standing(before, NOW - timedelta(hours=age), failing), looked(**states), NOW)
    assert verdict.state is after
    assert (verdict.failing_since is None) == (after in {DomainState.VERIFIED, DomainState.PENDING})


@pytest.mark.parametrize(
    ("states", "returns"), [({}, True), ({"mx": BAD}, False), ({"spf": BAD}, False), ({"mx": MUTE}, None)]
)
def test_the_return_path_is_used_when_its_records_are_there(states, returns) -> None:
    assert conclude(Standing(DomainState.VERIFIED, NOW), looked(**states), NOW).returns is returns


def test_without_a_bounce_host_there_is_no_return_path() -> None:
    records = [(one, judge(one, Found(), None)) for one in wanted_records("example.com", "send", [], Site(SITE.spf))]
    assert conclude(Standing(DomainState.VERIFIED, NOW), records, NOW).returns is False


def test_keys_sign_when_their_own_record_was_seen() -> None:
    assert [key.state for key in seen_keys(looked())] == [KeyState.NEXT]
    assert seen_keys(looked(waiting=BAD)) == seen_keys(looked(waiting=MUTE)) == []


@pytest.mark.parametrize(
    ("state", "age", "waits", "minutes"),
    [
        (DomainState.PENDING, timedelta(0), False, 1),
        (DomainState.PENDING, timedelta(hours=2), False, 10),
        (DomainState.FAILED, GRACE, False, 360),
        (DomainState.VERIFIED, timedelta(0), False, 60),
        (DomainState.VERIFIED, timedelta(0), True, 1),
        (DomainState.VERIFIED, timedelta(days=9), True, 60),
        (DomainState.TEMPORARY_FAILURE, timedelta(days=9), False, 10),
    ],
)
def test_who_waits_is_looked_at_more_often(state, age, waits, minutes) -> None:
    assert next_check(state, NOW - age, NOW, keys_wait=waits) == NOW + timedelta(minutes=minutes)
