"""Locust's numbers as Prometheus reads them, a mail's way by its timeline, and the line that people see."""

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from mailwarren.load.metrics import Entry, LoadCollector, Snapshot, Source
from mailwarren.load.timeline import Journey, journey
from mailwarren.load.words import progress_line

NOW = Snapshot(
    [
        Entry("POST", "/v1/emails", 5, 1, 0.6, {4: 1, 20: 2, 400: 2}),
        Entry("backpressure", "503: /v1/emails", 2, 0, 0.1, {50: 2}),
    ],
    users=9,
    workers=2,
    accepted=1_234,
    unanswered=1,
)


class Fixed(Source):
    def snapshot(self) -> Snapshot:
        return NOW


def test_counters_and_histogram_are_locusts_own() -> None:
    registry = CollectorRegistry()
    registry.register(LoadCollector(Fixed()))
    found = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }
    of = (("name", "/v1/emails"), ("type", "POST"))
    assert found["mailwarren_load_requests_total", *of] == 5
    assert found["mailwarren_load_failures_total", *of] == 1
    assert found["mailwarren_load_response_seconds_count", *of] == 5
    assert found["mailwarren_load_response_seconds_sum", *of] == 0.6
    assert found["mailwarren_load_response_seconds_bucket", ("le", "0.025"), *of] == 3
    assert found[("mailwarren_load_users",)] == 9
    assert found[("mailwarren_load_workers",)] == 2
    assert found[("mailwarren_load_accepted_total",)] == 1_234
    assert found[("mailwarren_load_unanswered_total",)] == 1


def test_a_line_says_what_matters_and_what_went_wrong() -> None:
    line = progress_line(NOW, 61.7, 65)
    assert line == "9 users | 5 answers | accepted 1,234 mails (62/s) | 2 made again | 1 FAILED | 1:05 left"
    assert progress_line(NOW, 0, None).endswith("until you stop it")
    assert progress_line(NOW, 0, 0).endswith("ending")


def test_a_way_is_from_the_acceptance_to_the_end() -> None:
    begun = ("accepted", "2026-03-01T10:00:00.100Z")
    later = ("deferred", "2026-03-01T10:00:01Z")
    end = ("delivered", "2026-03-01T10:00:02.350Z")
    assert journey([end, begun, later]) == Journey("delivered", 2.25)
    assert journey([begun, later]) is None
    assert journey([end]) is None, "an outcome may overtake its acceptance"
    assert journey([("accepted", end[1]), ("bounced", begun[1])]) == Journey("bounced", 0.0)
