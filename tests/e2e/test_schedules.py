"""Scheduled mail to the sink: at its time and once, whatever dies."""

import sys
import time
from pathlib import Path

import pytest

from mailwarren.devstack.harness.system import System, wait_for

pytestmark = pytest.mark.e2e

CRASHING = Path(__file__).parent / "crashing"
OFTEN = {"MAILWARREN_SCHEDULER_INTERVAL": "0.1", "MAILWARREN_DEPTH_INTERVAL": "0.5"}


@pytest.fixture(scope="module")
def standing(module_system: System) -> System:
    """Everything but a scheduler."""
    module_system.start_all(senders=1)
    return module_system


@pytest.fixture(scope="module")
def scheduled(standing: System) -> System:
    """With two of them, for the tests after those that bring their own."""
    names = ("scheduler", "scheduler2")
    for name in names:
        standing.start_scheduler(name, wait=False, env=OFTEN)
    standing.wait_ready(names=names)
    return standing


def arrived(system: System, address: str) -> int:
    assert system.sink
    return sum(address in recipients for recipients in map(str, system.sink.records()))


@pytest.mark.parametrize("place", ["before_publish", "after_publish"])
def test_a_scheduler_that_dies_there_loses_nothing_and_makes_no_second_mail(standing: System, place: str) -> None:
    system = standing
    assert system.api
    rows = [{"to": f"{place}{n}@d{n % 5}.test"} for n in range(120)]
    answer = system.api.post(
        "/emails/bulk",
        json={"from": "a@sender.test", "subject": "x", "text": "x", "scheduled_at": "in 1 second", "recipients": rows},
    )
    promises = [system.promise(row["id"], row["to"]) for row in answer.json()["data"]]
    victim = system._start(
        f"victim-{place}",
        [sys.executable, str(CRASHING / "crashing_scheduler.py")],
        OFTEN | {"PYTHONPATH": str(CRASHING), "CRASH_AT": place},
    )
    wait_for(lambda: not victim.alive, 45, f"the crash at {place}")
    assert victim.process.returncode == -9
    # The dead scheduler's lease is 30 s; the clock is put forward instead of waited for.
    system.query("UPDATE scheduled SET lease_until = now() WHERE state = 'scheduled'")
    heir = system.start_scheduler(f"heir-{place}", env=OFTEN)
    try:
        found = system.settle(promises, timeout=40)
        wait_for(lambda: not system.query("SELECT FROM scheduled WHERE state = 'scheduled'"), 20, "all rows released")
    finally:
        heir.kill()
        system.forget_service(f"heir-{place}")
    found.strangers_at_sink.clear()  # the other cases' mail
    assert found.balanced, str(found)
    assert not found.doubled


def test_mail_arrives_at_its_time_and_once_and_canceled_mail_never(scheduled: System) -> None:
    system = scheduled
    assert system.api
    began = time.monotonic()
    soon = system.promise(system.send("soon@d1.test", scheduled_at="in 2 seconds").json()["id"], "soon@d1.test")
    moved = system.promise(system.send("moved@d1.test", scheduled_at="in 2 seconds").json()["id"], "moved@d1.test")
    gone = system.send("gone@d1.test", scheduled_at="in 2 seconds").json()["id"]
    assert system.api.patch(f"/emails/{moved.email_id}", json={"scheduled_at": "in 4 seconds"}).status_code == 200
    assert system.api.post(f"/emails/{gone}/cancel").status_code == 200
    wait_for(lambda: arrived(system, soon.address) > 0, 20, "the mail due in two seconds")
    assert time.monotonic() - began >= 2
    assert arrived(system, moved.address) == 0
    found = system.settle([soon, moved], timeout=30)
    assert time.monotonic() - began >= 4
    found.strangers_at_sink.clear()  # the other tests' mail
    assert found.balanced, str(found)
    assert not found.doubled
    assert arrived(system, "gone@d1.test") == 0
    assert system.api.get(f"/emails/{gone}").json()["last_event"] == "canceled"
    shown = system.api.get(f"/emails/{soon.email_id}").json()
    assert (shown["last_event"], shown["scheduled_at"] is not None) == ("delivered", True)
    assert shown["created_at"] < shown["scheduled_at"]


def test_overdue_mail_is_held_and_the_command_line_lets_it_go(scheduled: System) -> None:
    system = scheduled
    assert system.api
    promise = system.promise(system.send("held@d1.test", scheduled_at="in 1 hour").json()["id"], "held@d1.test")
    dropped = system.send("dropped@d1.test", scheduled_at="in 1 hour").json()["id"]
    # As after a clock that was put forward, or two hours without a scheduler.
    system.query("UPDATE scheduled SET due_at = now() - interval '2 hours' WHERE state = 'scheduled'")
    held = "SELECT id FROM scheduled WHERE state = 'held'"
    wait_for(lambda: len(system.query(held)) == 2, 10, "both to be held")
    system.env |= {"MAILWARREN_API_URL": str(system.api.base_url).rstrip("/"), "MAILWARREN_API_KEY": system.token}
    listed = system.command("mailwarren", "scheduled", "list", "--held")
    assert {promise.email_id, dropped} == {line.split('"id": "')[1][:36] for line in listed.splitlines()}
    system.command("mailwarren", "scheduled", "cancel", dropped)
    system.command("mailwarren", "scheduled", "release", "--all-held")
    found = system.settle([promise], timeout=30)
    found.strangers_at_sink.clear()  # the other tests' mail
    assert found.balanced, str(found)
    assert arrived(system, "dropped@d1.test") == 0
