"""A keyed call whose answer was lost is repeated while its mail is being sent by another sender."""

import signal
import time

import pytest

from mailwarren.devstack.harness.system import System

pytestmark = pytest.mark.e2e

SLOW = {"domains": ["*"], "dot_latency_ms": 1500}


def test_the_repeat_makes_no_second_mail_while_the_first_is_in_flight(system: System) -> None:
    system.start_all(senders=3, sender_env={"MAILWARREN_PREFETCH": "1"})
    assert system.sink
    assert system.api
    system.sink.play(SLOW)
    body = {
        "from": "Ada <ada@sender.test>",
        "subject": "Once",
        "text": "Only once.",
        "recipients": [{"to": f"u{n}@d{n}.test"} for n in range(12)],
    }
    headers = {"Idempotency-Key": "in-flight"}
    first = system.api.post("/emails/bulk", json=body, headers=headers)
    promises = [system.promise(row["id"], row["to"]) for row in first.json()["data"]]
    for _ in range(3):
        # As if the API had died before it kept its answer: the lease is over and nothing is known.
        system.query("update idempotency_keys set answer = null, lease_until = now() - interval '1 second'")
        again = system.api.post("/emails/bulk", json=body, headers=headers)
        assert again.json()["data"] == first.json()["data"]
    found = system.settle(promises, timeout=40)
    assert found.balanced, str(found)

    time.sleep(2.5)  # longer than a copy that was wrongly sent would take to show
    assert not system.ledger(promises).doubled
    assert system.sink.stats()["received"] == 12


def test_two_copies_at_one_sender_make_one_mail(system: System) -> None:
    """The tracker is late, so both copies are in hand before the first answer comes."""
    system.start_all(senders=1)
    assert system.sink
    assert system.api
    body = {
        "from": "Ada <ada@sender.test>",
        "subject": "Once",
        "text": "Only once.",
        "recipients": [{"to": f"u{n}@d{n}.test"} for n in range(12)],
    }
    headers = {"Idempotency-Key": "side-by-side"}
    tracker = system.services["tracker"]
    tracker.signal(signal.SIGSTOP)
    try:
        first = system.api.post("/emails/bulk", json=body, headers=headers)
        system.query("update idempotency_keys set answer = null, lease_until = now() - interval '1 second'")
        again = system.api.post("/emails/bulk", json=body, headers=headers)
        assert again.json()["data"] == first.json()["data"]
        time.sleep(1)
    finally:
        tracker.signal(signal.SIGCONT)
    promises = [system.promise(row["id"], row["to"]) for row in first.json()["data"]]
    found = system.settle(promises, timeout=40)
    assert found.balanced, str(found)
    assert system.left_in_broker() == {}
    assert system.sink.stats()["received"] == 12
