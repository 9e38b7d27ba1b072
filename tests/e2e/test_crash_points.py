"""A sender dies between any two publishes, and between publish and ack, at each place in its code."""

import time
from pathlib import Path

import pytest

from mailwarren.contracts.lanes import Lane
from mailwarren.devstack.harness.doubles import unexcused
from mailwarren.devstack.harness.system import System, wait_for

pytestmark = pytest.mark.e2e

CRASHING = Path(__file__).parent / "crashing"

# One parcel for each shard: some accept, some are refused for good, some wait as the schedule says, and some as long as
# the server wishes, so that a parcel's deferrals go to two rungs.
PERSONAS = (
    {"domains": ["no*.test"], "rules": [{"stage": "rcpt", "code": 550, "enhanced": "5.1.1", "text": "unknown user"}]},
    {
        "domains": ["later*.test"],
        "rules": [{"stage": "rcpt", "code": 451, "enhanced": "4.3.0", "text": "not now", "first_attempts": 1}],
    },
    {
        "domains": ["wish*.test"],
        "rules": [
            {
                "stage": "rcpt",
                "code": 451,
                "text": "try again in 300 seconds",
                "enhanced": "4.3.0",
                "first_attempts": 1,
            }
        ],
    },
)
KINDS = ("yes", "no", "later", "wish")


def addresses(count: int, case: str) -> list[str]:
    """Other people in each case: an address that bounced in one is suppressed in the next."""
    return [f"{case}{n}@{KINDS[n % 4]}{n % 24}.test" for n in range(count)]


@pytest.fixture(scope="module")
def standing(module_system: System) -> System:
    """Everything but senders: each case brings its own victim and heir."""
    module_system.start_all(senders=0)
    assert module_system.sink
    module_system.sink.play(*PERSONAS)
    return module_system


@pytest.mark.parametrize(
    "place",
    [
        "before_outcomes:1",
        "after_outcomes:1",
        "after_outcomes:3",
        "before_ladder:1",
        "after_ladder:1",
        "before_ladder:2",
        "after_ladder:2",
        "before_ack:1",
        "after_ack:1",
    ],
)
def test_a_sender_that_dies_there_loses_nothing(standing: System, place: str) -> None:
    system = standing
    assert system.sink
    env = {"PYTHONPATH": str(CRASHING), "CRASH_AT": place, "MAILWARREN_PREFETCH": "5"}
    victim = system.start_sender(f"victim-{place}", app="crashing_sender:app", env=env)
    promises = system.send_bulk(addresses(240, place.replace(":", "-")), lane=Lane.HIGH)
    wait_for(lambda: not victim.alive, 30, f"the crash at {place}")
    died_at = time.time()
    assert victim.process.returncode == -9
    heir = system.start_sender(f"heir-{place}")
    try:
        found = system.settle(promises, timeout=60)
    finally:
        heir.kill()
    found.strangers_at_sink.clear()  # the other cases' mail
    assert found.balanced, str(found)
    doubled = [promise for promise, _ in found.doubled]
    print(f"died at {place}: {len(doubled)} doubled")
    assert unexcused(doubled, system.sink.records(), [died_at]) == []
    bounced = [promise for promise in promises if "@no" in promise.address]
    assert set(system.states(bounced).values()) == {"bounced"}
