import random

import pytest

from mailwarren.sender.smtp import Command, Host, Reply, Site, SiteLimits, TlsMode, Unreachable, UnreachableKind
from mailwarren.sender.smtp.domains import ascii_domain, site_name
from mailwarren.sender.smtp.hosts import REMEMBERED, HostHealth, most_hopeful
from mailwarren.sender.smtp.result import NoSession

DOWN = NoSession(Unreachable(UnreachableKind.CONNECT, "refused", "x"), "x")
BUSY = NoSession(Reply(421, "busy", command=Command.CONNECT), "y")
UNWANTED = NoSession(Reply(554, "go away", command=Command.CONNECT), "z")


@pytest.fixture
def health() -> HostHealth:
    return HostHealth(first_hold=5.0, longest_hold=60.0, rng=random.Random(1))


def _host(name: str, address: str = "192.0.2.1", preference: int = 10) -> Host:
    return Host(name, 25, address, preference)


def test_preference_decides_and_chance_among_equals(health):
    best, one, two = _host("best", preference=1), _host("one"), _host("two")

    orders = [tuple(host.name for host in health.order([two, best, one], 0.0)) for _ in range(100)]

    assert {order[0] for order in orders} == {"best"}
    assert {order[1] for order in orders} == {"one", "two"}


def test_ipv4_comes_before_ipv6_of_the_same_host_and_after_a_better_host(health):
    hosts = [_host("a", "2001:db8::1"), _host("a", "192.0.2.1"), _host("b", "2001:db8::2", 5)]

    assert [host.address for host in health.order(hosts, 0.0)] == ["2001:db8::2", "192.0.2.1", "2001:db8::1"]


def test_a_host_with_many_addresses_does_not_hide_its_backup(health):
    many = [_host("many", f"192.0.2.{n}", 1) for n in range(20)]

    assert [host.name for host in health.order([*many, _host("backup")], 0.0)] == ["many", "many", "backup"]


def test_few_hosts_are_tried_for_one_connection(health):
    assert len(health.order([_host(f"h{n}") for n in range(50)], 0.0)) == 5


def test_a_failed_host_is_skipped_longer_with_each_failure_until_it_works(health):
    one, two = _host("one", preference=1), _host("two", preference=2)
    now = 0.0
    for hold in (5.0, 10.0, 20.0, 40.0, 60.0, 60.0):
        health.failed(one, DOWN, now)
        assert health.order([one, two], now + hold - 0.1) == [two]
        now += hold
        assert health.order([one, two], now) == [one, two]
    health.worked(one)
    health.failed(one, DOWN, now)
    assert health.order([one, two], now + 5.0) == [one, two]


def test_a_host_that_never_worked_does_not_overflow_its_hold(health):
    for _ in range(2000):
        health.failed(_host("one"), DOWN, 0.0)

    assert health.failure([_host("one")], 59.0) == DOWN
    assert health.failure([_host("one")], 61.0) is None


def test_a_failure_is_known_only_when_every_host_is_held(health):
    one, two = _host("one"), _host("two")
    health.failed(one, DOWN, 0.0)
    assert health.failure([one, two], 1.0) is None
    health.failed(two, UNWANTED, 0.0)
    assert health.failure([one, two], 1.0) == DOWN
    assert health.failure([one, two], 6.0) is None


def test_what_is_remembered_is_bounded(health):
    for n in range(REMEMBERED + 1):
        health.failed(_host(f"h{n}"), DOWN, 0.0)

    assert health.failure([_host("h0")], 1.0) is None
    assert health.failure([_host("h1")], 1.0) == DOWN


@pytest.mark.parametrize(
    ("failures", "standing_for_all"),
    [([UNWANTED, DOWN, BUSY], BUSY), ([UNWANTED, DOWN], DOWN), ([UNWANTED], UNWANTED), ([DOWN, BUSY], BUSY)],
)
def test_a_refusal_for_good_counts_only_when_no_host_left_hope(failures, standing_for_all):
    assert most_hopeful(failures) is standing_for_all


@pytest.mark.parametrize(
    ("host", "site"),
    [
        ("mx1.mail.example.org", "example.org"),
        ("example.org", "example.org"),
        ("mx.example.co.uk", "example.co.uk"),
        ("mx.example.de", "example.de"),
        ("mx.firma.example.de", "example.de"),
        ("localhost", "localhost"),
    ],
)
def test_a_mail_host_without_a_row_belongs_to_the_site_of_its_domain(host, site):
    assert site_name(host) == site


@pytest.mark.parametrize(
    ("domain", "name"),
    [("Example.ORG.", "example.org"), ("Bücher.example", "xn--bcher-kva.example"), ("_a-b.x", "_a-b.x")],
)
def test_domains_have_one_form(domain, name):
    assert ascii_domain(domain) == name


@pytest.mark.parametrize(
    "domain", ["", ".", "a..b", "a b.example", "x" * 64, ("x" * 60 + ".") * 5, "a\r\n.b", "\u2028.x", "[192.0.2.1]"]
)
def test_what_is_no_domain_is_said_to_be_none(domain):
    with pytest.raises(ValueError, match=r"."):
        ascii_domain(domain)


def test_sites_that_may_share_connections_have_one_route():
    one = Site("x", (_host("a"), _host("b", preference=20)))

    assert Site("y", (_host("b"), _host("a", "192.0.2.9"))).route == one.route
    assert Site("x", (_host("a"),)).route != one.route
    assert Site("x", one.hosts, tls=TlsMode.VERIFY).route != one.route


@pytest.mark.parametrize("limits", [{"connections": 0}, {"messages_per_connection": 0}])
def test_limits_under_which_no_mail_could_go_are_refused(limits):
    with pytest.raises(ValueError, match="at least one"):
        SiteLimits(**limits)


def test_a_site_without_hosts_is_refused():
    with pytest.raises(ValueError, match="needs a host"):
        Site("x", ())
