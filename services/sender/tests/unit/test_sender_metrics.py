"""Metrics of sites: providers by name, all others in one, and never too many."""

from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY

from mailwarren.contracts.ids import new_id
from mailwarren.contracts.parcel import Attempt
from mailwarren.contracts.shaping import Override, Scope
from mailwarren.contracts.testing import a_parcel, an_event
from mailwarren.contracts.tls import TlsPolicy, TlsSession
from mailwarren.sender import metrics
from mailwarren.sender.smtp import SMARTHOST, SiteStats


@pytest.fixture(autouse=True)
def _own_names() -> Iterator[None]:
    yield
    metrics.name_sites(())


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"mailwarren_sender_{name}", labels) or 0.0


def site(name: str, idle: int, busy: int, waiting: int) -> SiteStats:
    return SiteStats(name, idle + busy, busy, idle, 0, waiting)


def test_connections_are_shown_by_provider_and_go_with_the_site() -> None:
    metrics.name_sites(("example.net", SMARTHOST))
    metrics.record_sites([site("example.net", 1, 2, 3), site("a.test", 4, 0, 0), site("b.test", 1, 1, 5)])
    assert value("smtp_connections", state="busy", provider="example.net") == 2
    assert value("smtp_connections", state="idle", provider="other") == 5
    assert value("smtp_waiting", provider="other") == 5
    metrics.record_sites([])
    assert value("smtp_connections", state="busy", provider="example.net") == 0
    assert value("smtp_waiting", provider="other") == 0


def test_a_row_that_is_taken_away_leaves_no_connections_behind() -> None:
    metrics.name_sites(("gone.test",))
    metrics.record_sites([site("gone.test", 0, 2, 1)])
    metrics.name_sites(())
    metrics.record_sites([site("gone.test", 0, 2, 1)])
    assert value("smtp_connections", state="busy", provider="gone.test") == 0
    assert value("smtp_waiting", provider="gone.test") == 0
    assert value("smtp_connections", state="busy", provider="other") == 2


def test_dials_are_counters_that_stand_at_nothing_from_the_start() -> None:
    metrics.name_sites(("dialled.test",))
    found = REGISTRY.get_sample_value("mailwarren_sender_smtp_connections_opened_total", {"provider": "dialled.test"})
    assert found == 0
    others = value("smtp_dials_failed_total", provider="other")
    metrics.record_dials({"dialled.test": 3}, {"c.test": 1, "d.test": 1})
    assert value("smtp_connections_opened_total", provider="dialled.test") == 3
    assert value("smtp_dials_failed_total", provider="other") == others + 2


def test_however_many_sites_have_a_name_labels_stay_few() -> None:
    metrics.name_sites((SMARTHOST, *(f"p{number:03}.test" for number in range(500))))
    for name in (SMARTHOST, "p000.test", "p499.test"):
        metrics.record_events([an_event(a_parcel(), tried=Attempt(number=1, at=1.0, site=name, duration=0.1))])
    shown = {
        sample.labels["provider"]
        for metric in REGISTRY.collect()
        if metric.name == "mailwarren_sender_attempt_seconds"
        for sample in metric.samples
    }
    assert {SMARTHOST, "p000.test", "other"} <= shown
    assert "p499.test" not in shown
    assert len(metrics._providers) == metrics.MOST_PROVIDERS


def test_a_sender_says_what_it_consumes_and_how_much_it_takes() -> None:
    metrics.record_fleet("night", ["bulk", "normal"], ["all"], 24)
    metrics.record_limits(50, 500)
    metrics.record_in_flight(7, 3)
    assert value("info", fleet="night", lanes="bulk,normal", shards="all") == 1
    assert (value("queues"), value("prefetch"), value("in_flight_limit")) == (24, 50, 500)
    assert (value("in_flight"), value("parcels_open")) == (7, 3)


def test_what_is_in_force_is_shown_while_it_is_and_persons_are_one() -> None:
    metrics.name_sites(("named.test",))

    def one(name: str, cause: str, scope: Scope = Scope.SITE, *, suspend: bool = True) -> Override:
        return Override(new_id(), scope, name, 0.0, 9e9, suspend=suspend, cause=cause)

    found = [one("named.test", "rule:ip_blocked"), one("x.test", "breaker"), one("y.test", "breaker")]
    found += [one("named.test", "person:ada"), one("named.test", "person:bob"), one("t", "person:bob", Scope.TENANT)]
    metrics.record_overrides([*found, one("named.test", "rule:ip_blocked", suspend=False)])
    shown = {"scope": "site", "kind": "suspend", "provider": "named.test"}
    assert value("overrides", cause="rule:ip_blocked", **shown) == 1
    assert value("overrides", cause="rule:ip_blocked", **shown | {"kind": "limit"}) == 1
    assert value("overrides", cause="person", **shown) == 2
    assert value("overrides", cause="breaker", **shown | {"provider": "other"}) == 2
    assert value("overrides", scope="tenant", kind="suspend", cause="person", provider="") == 1
    metrics.record_overrides(())
    labels = shown | {"cause": "person"}
    assert REGISTRY.get_sample_value("mailwarren_sender_overrides", labels) is None


def test_negotiations_of_tls_are_counted_by_whose_rule_held_and_how_they_ended() -> None:
    before = value("tls_sessions_total", policy="sts", result="certificate-expired")
    good = value("tls_sessions_total", policy="tlsa", result="ok")
    expired = TlsSession("x.test", TlsPolicy.STS, "certificate-expired")
    metrics.record_sessions((expired, expired, TlsSession("y.test", TlsPolicy.DANE)))
    assert value("tls_sessions_total", policy="sts", result="certificate-expired") == before + 2
    assert value("tls_sessions_total", policy="tlsa", result="ok") == good + 1


def test_hosts_with_broken_tls_are_a_number_that_goes_down_again() -> None:
    metrics.record_broken_tls(3)
    assert value("tls_broken_hosts") == 3
    metrics.record_broken_tls(0)
    assert value("tls_broken_hosts") == 0


def test_fetches_of_policies_stand_at_nothing_before_the_first() -> None:
    for result in ("ok", "sts-policy-fetch-error", "sts-policy-invalid", "sts-webpki-invalid"):
        assert REGISTRY.get_sample_value("mailwarren_sender_sts_fetches_total", {"result": result}) is not None
