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
        # Retries ask the tracker, and the dead sender's claim is to pass.
        "after_question:2",
        # Between the parts of a parcel that is split, and when a mail's successor is on the ladder.
        "suspect before_ladder:3",
        "suspect after_successor:2",
    ],
)
def test_a_sender_that_dies_there_loses_nothing(standing: System, place: str) -> None:
    system = standing
    assert system.sink
    case = place.replace(":", "-").replace(" ", "-")
    env = {"PYTHONPATH": str(CRASHING), "MAILWARREN_PREFETCH": "5"}
    kind, _, crash_at = place.rpartition(" ")
    if kind == "suspect":
        env["SUSPECT_AFTER"] = "0"
    victim = system.start_sender(f"victim-{case}", app="crashing_sender:app", env=env | {"CRASH_AT": crash_at})
    promises = system.send_bulk(addresses(240, case), lane=Lane.HIGH)
    wait_for(lambda: not victim.alive, 30, f"the crash at {place}")
    died_at = time.time()
    assert victim.process.returncode == -9
    heir = system.start_sender(f"heir-{case}", app="crashing_sender:app", env=env)
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


def test_a_sender_that_dies_after_it_said_started_leaves_that_mail_to_a_person(standing: System) -> None:
    """What it had not said it of is sent by the next."""
    system = standing
    env = {"PYTHONPATH": str(CRASHING), "CRASH_AT": "after_report:3", "MAILWARREN_CONNECTIONS": "5"}
    victim = system.start_sender("victim-started", app="crashing_sender:app", env=env)
    promises = system.send_bulk([f"started{n}@yes.test" for n in range(50)], lane=Lane.HIGH, on_unknown="hold")
    wait_for(lambda: not victim.alive, 30, "the crash")
    heir = system.start_sender("heir-started")
    try:
        found = system.settle(promises, timeout=60)
    finally:
        heir.kill()
    found.strangers_at_sink.clear()  # the other cases' mail
    assert not (found.missing_rows or found.without_end or found.delivered_but_not_at_sink or found.doubled), str(found)
    states = list(system.states(promises).values())
    assert set(states) == {"delivered", "held"}
    assert 3 <= states.count("held") <= 10
