"""A broadcast while the database is stopped and started: nobody missed, nobody twice, by the sink's own record."""

import sys
from pathlib import Path
from typing import Any

import pytest

from mailwarren.devstack.harness.lists import broadcast_row, make_segment, promised
from mailwarren.devstack.harness.system import System, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

CRASHING = Path(__file__).parent / "crashing"
PEOPLE = 1200


def test_the_database_stopped_in_the_middle(system_with_own_postgres: System, own_postgres: Any) -> None:
    system = system_with_own_postgres
    system.start_all(senders=1)
    assert system.api
    system.start_scheduler(env={"MAILWARREN_SCHEDULER_INTERVAL": "0.1"}, wait=False)
    segment, people = make_segment(system, PEOPLE)
    # The worker of the crash tests, for its small batches.
    own = {"PYTHONPATH": str(CRASHING), "MAILWARREN_METRICS_PORT": "0", "BATCH": "20"}
    worker = system._start("worker", [sys.executable, str(CRASHING / "crashing_worker.py")], own)
    body = {"segment_id": segment, "from": "Ada <ada@sender.test>", "subject": "News", "text": "News.", "send": True}
    broadcast = system.api.post("/broadcasts", json=body).raise_for_status().json()["id"]
    wait_for(lambda: broadcast_row(system, broadcast)["published"] >= 200, 45, "200 recipients")
    own_postgres.stop()
    own_postgres.start()
    found = system.settle(promised(system, broadcast, people), timeout=60)
    assert found.balanced, str(found)
    assert not found.doubled
    wait_for(lambda: broadcast_row(system, broadcast)["state"] == "sent", 20, "the last batch to be noted")
    assert broadcast_row(system, broadcast)["published"] == PEOPLE
    assert worker.alive
    assert system.left_in_broker() == {}
