"""Whose rule holds for a host's TLS, in which order connections are tried, and what failures are called."""

import ssl

import pytest

from mailwarren.contracts.tls import TlsPolicy
from mailwarren.sender.smtp import BrokenTls, Host, Site, TlsMode, TlsProblem
from mailwarren.sender.smtp.dane import Dane, Tlsa
from mailwarren.sender.smtp.hosts import HostHealth
from mailwarren.sender.smtp.result import NoSession, Unreachable, UnreachableKind
from mailwarren.sender.smtp.site import DomainPolicy
from mailwarren.sender.smtp.tlsproblem import read_problem
from mailwarren.sender.smtp.tlsrules import IN_THE_CLEAR, Check, Way, at_least, rule_of, ways

PLAIN = Host("mx.x.example", 25, "192.0.2.1")
RECORD = Tlsa(3, 1, 1, bytes(32))
SECURE = Host("mx.x.example", 25, "192.0.2.1", dane=Dane((RECORD,), ("mx.x.example",)))
UNUSABLE = Host("mx.x.example", 25, "192.0.2.1", dane=Dane((), ("mx.x.example",)))
NONE = DomainPolicy("x.example")
ENFORCED = DomainPolicy("x.example", TlsPolicy.STS)
TESTED = DomainPolicy("x.example", TlsPolicy.STS, testing=True)
AWAY = DomainPolicy("x.example", unavailable=True)
ANY, PKIX, DANE = Way(Check.ANY), Way(Check.PKIX), Way(Check.DANE)
ANY_OR_CLEAR, PKIX_OR_CLEAR = Way(Check.ANY, clear=True), Way(Check.PKIX, clear=True)


@pytest.mark.parametrize(
    ("host", "mode", "policy", "tried", "rule"),
    [
        (PLAIN, TlsMode.OFF, NONE, (IN_THE_CLEAR,), None),
        (PLAIN, TlsMode.OPPORTUNISTIC, NONE, (ANY_OR_CLEAR, IN_THE_CLEAR), None),
        (PLAIN, TlsMode.REQUIRED, NONE, (ANY,), "required"),
        (PLAIN, TlsMode.VERIFY, NONE, (PKIX,), "verify"),
        (PLAIN, TlsMode.VERIFY, ENFORCED, (PKIX,), "mta-sts"),
        (PLAIN, TlsMode.OFF, TESTED, (IN_THE_CLEAR,), "mta-sts testing"),
        (PLAIN, TlsMode.OPPORTUNISTIC, TESTED, (PKIX_OR_CLEAR, ANY_OR_CLEAR, IN_THE_CLEAR), "mta-sts testing"),
        (PLAIN, TlsMode.REQUIRED, TESTED, (PKIX, ANY), "mta-sts testing"),
        (PLAIN, TlsMode.VERIFY, TESTED, (PKIX,), "mta-sts testing"),
        (PLAIN, TlsMode.OPPORTUNISTIC, AWAY, (ANY_OR_CLEAR, IN_THE_CLEAR), "mta-sts unavailable"),
        (PLAIN, TlsMode.REQUIRED, AWAY, (ANY,), "required"),
        (SECURE, TlsMode.OPPORTUNISTIC, AWAY, (DANE,), "dane"),
        (SECURE, TlsMode.OFF, NONE, (DANE,), "dane"),
        (SECURE, TlsMode.VERIFY, ENFORCED, (DANE,), "dane"),
        (UNUSABLE, TlsMode.OFF, TESTED, (ANY,), "dane"),
    ],
)
def test_dane_comes_before_mta_sts_before_the_row(host, mode, policy, tried, rule):
    site = Site("x", (host,), mode, policy=policy)
    memory = BrokenTls()
    assert ways(host, site, memory) == tried
    assert rule_of(host, site) == rule
    memory.broke(host, TlsProblem.HANDSHAKE)
    remembered = (IN_THE_CLEAR,) if mode is TlsMode.OPPORTUNISTIC and host.dane is None else tried
    assert ways(host, site, memory) == remembered, "only where nothing requires TLS"


def test_a_smarthost_with_tls_from_the_start_is_tried_once():
    assert len(ways(PLAIN, Site("x", (PLAIN,), TlsMode.VERIFY, implicit_tls=True), BrokenTls())) == 1


@pytest.mark.parametrize("mode", list(TlsMode))
def test_a_mail_raises_what_the_row_says_and_never_lowers_it(mode):
    assert at_least(mode, required=False) is mode
    assert at_least(mode, required=True) is (TlsMode.VERIFY if mode is TlsMode.VERIFY else TlsMode.REQUIRED)


def test_connections_are_shared_only_between_destinations_of_one_security():
    routes = {
        Site("x", (host,), mode, policy=policy).route
        for host, mode, policy in [
            (PLAIN, TlsMode.OPPORTUNISTIC, NONE),
            (PLAIN, TlsMode.REQUIRED, NONE),
            (PLAIN, TlsMode.VERIFY, NONE),
            (PLAIN, TlsMode.VERIFY, ENFORCED),
            (PLAIN, TlsMode.OPPORTUNISTIC, TESTED),
            (SECURE, TlsMode.OPPORTUNISTIC, NONE),
            (UNUSABLE, TlsMode.OPPORTUNISTIC, NONE),
        ]
    }
    assert len(routes) == 7
    other = DomainPolicy("y.example", TlsPolicy.STS)
    assert Site("x", (PLAIN,), TlsMode.VERIFY, policy=ENFORCED).route == (
        Site("x", (PLAIN,), TlsMode.VERIFY, policy=other).route
    )


def test_a_host_in_trouble_over_one_route_is_tried_for_another():
    import random

    health = HostHealth(first_hold=5.0, longest_hold=60.0, rng=random.Random(1))
    failure = NoSession(Unreachable(UnreachableKind.TLS, "x", "x", tls=TlsProblem.EXPIRED), "x")
    down = NoSession(Unreachable(UnreachableKind.CONNECT, "x", "x"), "x")

    health.failed(PLAIN, failure, 0.0, "strict")
    assert health.failure([PLAIN], 1.0, "strict") is failure
    assert health.failure([PLAIN], 1.0, "other") is None
    health.failed(PLAIN, down, 1.0)
    assert health.failure([PLAIN], 2.0, "other") is down
    health.worked(PLAIN, "other")
    assert health.failure([PLAIN], 2.0, "other") is None
    assert health.failure([PLAIN], 2.0, "strict") is failure


def _failed(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError("x")
    error.verify_code = code
    return error


def _broken(reason: str | None) -> ssl.SSLError:
    error = ssl.SSLError(1, "x")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (_failed(10), TlsProblem.EXPIRED),
        (_failed(9), TlsProblem.NOT_YET_VALID),
        (_failed(18), TlsProblem.SELF_SIGNED),
        (_failed(19), TlsProblem.UNTRUSTED),
        (_failed(20), TlsProblem.UNTRUSTED),
        (_failed(21), TlsProblem.UNTRUSTED),
        (_failed(62), TlsProblem.WRONG_NAME),
        (_failed(64), TlsProblem.WRONG_NAME),
        (_failed(26), TlsProblem.CERTIFICATE),
        (_broken("TLSV1_ALERT_PROTOCOL_VERSION"), TlsProblem.OLD_VERSION),
        (_broken("UNSUPPORTED_PROTOCOL"), TlsProblem.OLD_VERSION),
        (_broken("WRONG_VERSION_NUMBER"), TlsProblem.HANDSHAKE),
        (_broken(None), TlsProblem.HANDSHAKE),
        (ConnectionAbortedError(), TlsProblem.HANDSHAKE),
        (None, TlsProblem.HANDSHAKE),
    ],
)
def test_a_failed_handshake_is_read_as_what_is_wrong(error, problem):
    assert read_problem(error) is problem


REPORTS = {
    "starttls-not-supported", "certificate-host-mismatch", "certificate-expired", "certificate-not-trusted",
    "validation-failure", "tlsa-invalid", "dnssec-invalid", "dane-required", "sts-policy-fetch-error",
    "sts-policy-invalid", "sts-webpki-invalid",
}  # fmt: skip
"""RFC 8460 §4.3."""


@pytest.mark.parametrize("problem", list(TlsProblem))
def test_every_problem_is_a_class_and_a_result_of_the_rfc(problem):
    assert problem.value.startswith("tls_")
    assert problem.report in REPORTS
