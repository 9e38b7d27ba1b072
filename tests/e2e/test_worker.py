"""Orders on ``ops.tasks``: released and carried out once, tried again, set aside, and never a worker's end."""

import json
import signal
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from kombu import Connection

from mailwarren.contracts.codec import TYPE_HEADER, VERSION_HEADER, encode_order, order_headers
from mailwarren.contracts.order import Order, Work
from mailwarren.contracts.topology import OPS_KEY, Topology
from mailwarren.devstack.harness.system import System, wait_for

pytestmark = pytest.mark.e2e

SCALE = 0.01
SECONDS = 20.0


@pytest.fixture(scope="module")
def working(module_system: System) -> Iterator[System]:
    """Two schedulers and a worker; heartbeats every second."""
    often = {"MAILWARREN_HEARTBEAT_EVERY": "1", "MAILWARREN_SCHEDULER_INTERVAL": "0.1"}
    module_system.start_worker(wait=False)
    for name in ("scheduler", "scheduler2"):
        module_system.start_scheduler(name, wait=False, env=often)
    module_system.wait_ready()
    return module_system


def topology(system: System) -> Topology:
    return Topology(system.prefix, SCALE)


def publish(system: System, body: bytes, headers: dict[str, Any], **properties: Any) -> None:
    with Connection(system.amqp_url) as connection, connection.Producer() as producer:
        producer.publish(
            body, exchange=topology(system).ops_tasks.name, routing_key=OPS_KEY, headers=headers, delivery_mode=2,
            **{"content_type": "application/json", "content_encoding": "utf-8"} | properties,
        )  # fmt: skip


def job(system: System, name: str) -> Any:
    (row,) = system.query("SELECT * FROM periodic_jobs WHERE name = $1", name)
    return row


def set_aside(system: System) -> int:
    with Connection(system.amqp_url) as connection:
        queue = topology(system).ops_dead_queue.bind(connection.default_channel)
        return int(queue.queue_declare(passive=True).message_count)


def counted(system: System, metric: str, service: str = "worker") -> float:
    text = system.metrics(service)
    (line,) = [line for line in text.splitlines() if line.startswith(metric + " ")]
    return float(line.split()[-1])


def done(system: System) -> float:
    return counted(system, 'mailwarren_ops_orders_total{result="done",work="ops.heartbeat"}')


def test_what_is_due_is_carried_out_once_by_however_many_schedulers(working: System) -> None:
    wait_for(lambda: job(working, "ops.heartbeat")["runs"] >= 3, SECONDS, "three heartbeats")
    row = job(working, "ops.heartbeat")
    assert row["result"] == "alive"
    # An order that a slow machine has not carried out when the next is due gives way to it: a repeat, not a run.
    taken = done(working) + counted(working, 'mailwarren_ops_orders_total{result="repeated",work="ops.heartbeat"}')
    released = sum(
        counted(working, 'mailwarren_ops_released_total{work="ops.heartbeat"}', name)
        for name in ("scheduler", "scheduler2")
    )
    assert taken <= released
    assert counted(working, "mailwarren_ops_heartbeat_timestamp_seconds") > time.time() - 10


def test_an_order_that_comes_twice_is_carried_out_once(working: System) -> None:
    wait_for(lambda: job(working, "ops.retention")["ended_at"], SECONDS, "retention")
    row = job(working, "ops.retention")
    order = Order(id=UUID(str(row["run_id"])), work=Work.RETENTION, due_at=row["due_at"].timestamp())
    before = counted(working, 'mailwarren_ops_orders_total{result="repeated",work="ops.retention"}')
    publish(working, encode_order(order), order_headers(order))
    wait_for(
        lambda: counted(working, 'mailwarren_ops_orders_total{result="repeated",work="ops.retention"}') == before + 1,
        SECONDS,
        "the repeat",
    )
    assert job(working, "ops.retention")["runs"] == row["runs"]


def test_what_was_missed_for_days_runs_once(working: System) -> None:
    wait_for(lambda: job(working, "ops.retention")["ended_at"], SECONDS, "retention")
    runs = job(working, "ops.retention")["runs"]
    working.query("UPDATE periodic_jobs SET next_run_at = now() - interval '9 days' WHERE name = 'ops.retention'")
    wait_for(lambda: job(working, "ops.retention")["runs"] == runs + 1, SECONDS, "the overdue run")
    time.sleep(1)
    row = job(working, "ops.retention")
    assert row["runs"] == runs + 1
    (after,) = working.query("SELECT next_run_at > now() AS later FROM periodic_jobs WHERE name = 'ops.retention'")
    assert after["later"]


def test_the_scheduler_tells_of_work_that_nobody_carries_out(working: System) -> None:
    overdue = 'mailwarren_ops_overdue_seconds{work="ops.heartbeat"}'
    done_at = 'mailwarren_ops_done_timestamp_seconds{work="ops.heartbeat"}'
    wait_for(lambda: done_at in working.metrics("scheduler"), SECONDS, "the jobs' states")
    wait_for(lambda: counted(working, overdue, "scheduler") < 2, SECONDS, "heartbeats in time")
    working.services["worker"].signal(signal.SIGSTOP)
    try:
        # Further than the next run, which replaces the one that was not carried out.
        wait_for(lambda: counted(working, overdue, "scheduler") > 4, SECONDS, "an overdue heartbeat")
    finally:
        working.services["worker"].signal(signal.SIGCONT)
    wait_for(lambda: counted(working, overdue, "scheduler") < 2, SECONDS, "heartbeats in time again")
    assert counted(working, done_at, "scheduler") > time.time() - 10
    assert counted(working, "mailwarren_ops_round_timestamp_seconds", "scheduler") > time.time() - 5
    assert counted(working, "mailwarren_ops_consuming") == 1


PICKLE = {"content_type": "application/x-python-serialize", "content_encoding": "binary"}
POISON: dict[str, tuple[bytes, dict[str, Any], dict[str, str]]] = {
    "no headers": (b"[[], {}, {}]", {}, {}),
    "no id": (b"[[], {}, {}]", {"task": "ops.heartbeat", "lang": "py"}, {}),
    "not JSON": (b"\xff\xfe", {"task": "ops.heartbeat", "id": "x", VERSION_HEADER: 1, TYPE_HEADER: "order"}, {}),
    "another type": (b"cos\nsystem\n(S'true'\ntR.", {"task": "ops.heartbeat", "id": "x"}, PICKLE),
    "another program's": (b"[[], {}, {}]", {"task": "other.task", "id": "x"}, {}),
    "no order": (b"[[], {}, {}]", {"task": "ops.heartbeat", "id": "x", VERSION_HEADER: 1}, {}),
}  # fmt: skip


def test_poison_is_set_aside_and_the_worker_lives(working: System) -> None:
    before, pid = set_aside(working), working.services["worker"].pid
    for body, headers, properties in POISON.values():
        publish(working, body, headers, **properties)
    wait_for(lambda: set_aside(working) == before + len(POISON), SECONDS, "the dead letters", every=0.3)
    beats = done(working)
    wait_for(lambda: done(working) > beats, SECONDS, "another heartbeat")
    assert (working.services["worker"].alive, working.services["worker"].pid) == (True, pid)
    listed = [json.loads(line) for line in working.command("mailwarren", "dead", "--ops", "list").splitlines()]
    assert {line["from"] for line in listed} == {f"{working.prefix}ops.tasks"}


def test_an_order_of_a_newer_version_waits_for_a_newer_worker(working: System) -> None:
    before = set_aside(working)
    order = Order(id=uuid4(), work="ops.later", due_at=0)
    publish(working, encode_order(order), order_headers(order))
    newer = Order(id=uuid4(), work=Work.HEARTBEAT, due_at=0)
    publish(working, b"whatever it looks like by then", order_headers(newer) | {VERSION_HEADER: 99})
    waits = [f'"task": "{task}", "times": 2' for task in ("ops.later", "ops.heartbeat")]
    log = working.services["worker"].log
    wait_for(lambda: all(one in log.read_text() for one in waits), SECONDS, "the second wait")
    assert set_aside(working) == before


def test_a_try_that_fails_is_made_again_and_in_the_end_set_aside(working: System) -> None:
    """Waits are 50 ms, 300 ms and 3 s here."""
    before = set_aside(working)
    working.query("ALTER TABLE idempotency_keys RENAME COLUMN created_at TO hidden")
    try:
        # A missing column is nobody's outage.
        working.query("UPDATE periodic_jobs SET next_run_at = now() WHERE name = 'ops.retention'")
        wait_for(lambda: job(working, "ops.retention")["attempt"] == 3, SECONDS, "the third try")
        row = job(working, "ops.retention")
        assert "created_at" in row["trouble"]
        wait_for(lambda: set_aside(working) == before + 1, SECONDS, "the dead letter", every=0.3)
        assert job(working, "ops.retention")["attempt"] == 6
        assert job(working, "ops.retention")["ended_at"]
    finally:
        working.query("ALTER TABLE idempotency_keys RENAME COLUMN hidden TO created_at")
    assert counted(working, 'mailwarren_ops_orders_total{result="again",work="ops.retention"}') == 5
    assert counted(working, 'mailwarren_ops_orders_total{result="failed",work="ops.retention"}') == 1


def test_an_order_of_a_killed_worker_is_carried_out_by_another(working: System) -> None:
    runs = job(working, "ops.heartbeat")["runs"]
    working.services["worker"].kill()
    working.start_worker("heir")
    wait_for(lambda: job(working, "ops.heartbeat")["runs"] > runs + 1, SECONDS, "the heir's heartbeats")


def test_sigterm_ends_them_in_order(working: System) -> None:
    for name in ("heir", "scheduler", "scheduler2"):
        service = working.services[name]
        service.signal(signal.SIGTERM)
        assert service.process.wait(timeout=15) == 0, service.tail()
        assert '"level": "error"' not in service.tail(5)
