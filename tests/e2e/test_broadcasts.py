"""Broadcasts to the sink: everybody once and nobody missed, whatever dies, by the sink's own record."""

import sys
from pathlib import Path
from uuid import UUID

import pytest

from mailwarren.devstack.harness.lists import broadcast_row, make_segment, promised
from mailwarren.devstack.harness.service import Service
from mailwarren.devstack.harness.system import System, wait_for

pytestmark = pytest.mark.e2e

CRASHING = Path(__file__).parent / "crashing"
OFTEN = {"MAILWARREN_SCHEDULER_INTERVAL": "0.1", "MAILWARREN_DEPTH_INTERVAL": "0.5"}
PEOPLE = 600


@pytest.fixture(scope="module")
def standing(module_system: System) -> System:
    """Everything but a worker."""
    module_system.start_all(senders=1)
    module_system.start_scheduler(env=OFTEN)
    return module_system


def send(system: System, segment: str) -> str:
    assert system.api
    body = {
        "segment_id": segment, "from": "Ada <ada@sender.test>", "subject": "News for {{{contact.email}}}",
        "text": "Hello {{{contact.first_name|you}}}.", "send": True,
    }  # fmt: skip
    answer = system.api.post("/broadcasts", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def crashing(system: System, name: str, **env: str) -> Service:
    own = {"PYTHONPATH": str(CRASHING), "MAILWARREN_METRICS_PORT": "0", "MAILWARREN_WORKER_NAME": name}
    return system._start(name, [sys.executable, str(CRASHING / "crashing_worker.py")], OFTEN | own | env)


def end(system: System, service: Service) -> None:
    if service.alive:
        service.kill()
    system.forget_service(service.name)


def check(system: System, broadcast: str, people: dict[UUID, str], timeout: float = 60.0) -> None:
    """The sink's record, the ledger and the statistics agree that everybody got one mail."""
    assert system.api
    found = system.settle(promised(system, broadcast, people), timeout=timeout)
    found.strangers_at_sink.clear()  # the other cases' mail
    assert found.balanced, str(found)
    assert not found.doubled
    wait_for(lambda: broadcast_row(system, broadcast)["state"] == "sent", 20, "the last batch to be noted")
    stats = system.api.get(f"/broadcasts/{broadcast}/stats").json()
    assert (stats["published"], stats["recipients"], stats["delivered"]) == (len(people),) * 3


@pytest.mark.parametrize("place", ["before_publish", "after_publish"])
def test_a_worker_that_dies_there_misses_nobody_and_writes_to_nobody_twice(standing: System, place: str) -> None:
    system = standing
    segment, people = make_segment(system, PEOPLE)
    victim = crashing(system, f"victim-{place}", CRASH_AT=place, BATCH="100")
    broadcast = send(system, segment)
    wait_for(lambda: not victim.alive, 45, f"the crash at {place}")
    assert victim.process.returncode == -9
    assert broadcast_row(system, broadcast)["published"] == 200
    # The broker gives its order to the next worker, which goes on at once.
    heir = system.start_worker(f"heir-{place}")
    try:
        check(system, broadcast, people)
    finally:
        end(system, victim)
        end(system, heir)


def test_workers_and_the_scheduler_killed_again_and_again(standing: System) -> None:
    system = standing
    segment, people = make_segment(system, PEOPLE)
    worker = crashing(system, "mortal0", BATCH="20")
    broadcast = send(system, segment)
    for number, mark in enumerate((1, 300), start=1):
        wait_for(lambda mark=mark: broadcast_row(system, broadcast)["published"] >= mark, 45, f"{mark} recipients")  # type: ignore[misc]
        end(system, worker)
        system.services["scheduler"].kill()
        system.forget_service("scheduler")
        system.start_scheduler(env=OFTEN, wait=False)
        worker = crashing(system, f"mortal{number}", BATCH="20")
    try:
        check(system, broadcast, people)
    finally:
        end(system, worker)


def test_a_cancel_withdraws_what_waits_in_the_broker(standing: System) -> None:
    system = standing
    assert system.api
    assert system.sink
    segment, people = make_segment(system, 300)
    worker = system.start_worker("worker")
    sender = system.services["sender0"]
    sender.stop()
    system.forget_service("sender0")
    broadcast = send(system, segment)
    wait_for(lambda: broadcast_row(system, broadcast)["state"] == "sent", 20, "everything to be published")
    assert system.api.post(f"/broadcasts/{broadcast}/cancel").status_code == 200
    system.start_sender("sender0")
    wait_for(
        lambda: system.api.get(f"/broadcasts/{broadcast}/stats").json()["canceled"] == len(people),  # type: ignore[union-attr]
        20, "every delivery to be canceled",
    )  # fmt: skip
    addresses = set(people.values())
    assert not [record for record in system.sink.records() if record.rcpt in addresses]
    end(system, worker)
