"""The tracker is killed or restarted in the middle of its batches."""

import time

import pytest

from mailwarren.contracts.lanes import Lane
from mailwarren.devstack.harness.system import System, wait_for

pytestmark = pytest.mark.e2e


def rows_of_events(system: System) -> int:
    return int(system.query("select count(*) as n from events")[0]["n"])


def test_no_row_is_written_twice_and_none_is_missing(system: System) -> None:
    system.start_all(senders=1)
    promises = system.send_bulk([f"u{n}@d{n % 40}.test" for n in range(3000)])
    for number in range(3):
        wait_for(lambda n=number: rows_of_events(system) > 300 * (n + 1), 30, "the tracker's progress")
        system.services["tracker"].kill()
        time.sleep(0.3)
        system.start_tracker()
    found = system.settle(promises, timeout=60)
    assert found.balanced, str(found)
    assert not found.doubled
    twice = system.query("select delivery_id, attempt, kind from events group by 1, 2, 3 having count(*) > 1")
    assert twice == []
    assert system.query("select count(*) as n from deliveries where state = 'delivered'")[0]["n"] == 3000
    counted = system.query("select kind, sum(count)::int as n from stats_minute group by kind")
    assert {row["kind"]: row["n"] for row in counted}.get("delivered") == 3000


def test_answers_stay_right_when_it_is_restarted_gracefully(system: System) -> None:
    """Every mail is deferred twice, so every parcel asks; a wrong answer would double a mail or lose it."""
    system.start_all(senders=2)
    assert system.sink
    refuse = {"stage": "rcpt", "code": 451, "enhanced": "4.7.1", "text": "not yet", "first_attempts": 2}
    system.sink.play({"domains": ["later*.test"], "rules": [refuse]}, {"domains": ["*"], "dot_latency_ms": 30})
    promises = system.send_bulk([f"u{n}@{'later' if n % 2 else 'd'}{n % 20}.test" for n in range(1500)], lane=Lane.HIGH)
    for _ in range(4):
        time.sleep(0.7)
        assert system.services["tracker"].stop() == 0
        system.start_tracker()
    found = system.settle(promises, timeout=90)
    assert found.balanced, str(found)
    assert not found.doubled, str(found)
