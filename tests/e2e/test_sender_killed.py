"""kill -9 of a sender in the middle of a run."""

import pytest

from mailwarren.devstack.harness.doubles import unexcused
from mailwarren.devstack.harness.system import System, wait_for

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("delivered_before", [50, 700])
def test_nothing_is_lost_and_only_unanswered_mail_is_doubled(system: System, delivered_before: int) -> None:
    system.start_all(senders=2)
    assert system.sink
    system.sink.play({"domains": ["d1*.test"], "dot_latency_ms": 400}, {"domains": ["*"], "dot_latency_ms": 20})
    promises = system.send_bulk([f"u{n}@d{n % 40}.test" for n in range(2500)])
    assert len(promises) == 2500
    wait_for(lambda: system.sink.stats()["accepted"] >= delivered_before, 30, "the first deliveries")
    killed_at = system.services["sender0"].kill()
    found = system.settle(promises, timeout=90)
    assert found.balanced, str(found)
    doubled = [promise for promise, _ in found.doubled]
    print(f"killed with {delivered_before} delivered: {len(doubled)} doubled")
    assert unexcused(doubled, system.sink.records(), [killed_at]) == []
    assert system.left_in_broker() == {}


def test_senders_killed_again_and_again_still_lose_nothing(system: System) -> None:
    system.start_all(senders=2)
    assert system.sink
    system.sink.play({"domains": ["*"], "dot_latency_ms": 50})
    promises = system.send_bulk([f"u{n}@d{n % 40}.test" for n in range(2000)])
    kills = []
    for number in range(4):
        wait_for(lambda n=number: system.sink.stats()["accepted"] > 150 * (n + 1), 40, "progress")
        kills.append(system.services[f"sender{number}"].kill())
        system.start_sender(f"sender{number + 2}", wait=False)
    found = system.settle(promises, timeout=120)
    assert found.balanced, str(found)
    doubled = [promise for promise, _ in found.doubled]
    print(f"{len(doubled)} doubled by four kills")
    assert unexcused(doubled, system.sink.records(), kills) == []
    assert system.left_in_broker() == {}
