"""A thousand mails through the containers, while a sender is stopped, and the counts of all four witnesses."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from containers import SETUP, Containers
from report import Report

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.topology import Topology
from mailwarren.devstack.harness.counts import Promise, by_state
from mailwarren.devstack.harness.sink import SinkWitness
from mailwarren.devstack.harness.system import System

MAILS = 1000
SINGLES = 100
_SLOW_MS = 300
"""The sink's wait before it takes a mail, so that a sender has to be stopped in the midst of its work."""
_SETTLE_SECONDS = 90.0
_WARM = "Warm shutdown"


def run_journey(containers: Containers, folder: Path, token: str, report: Report) -> None:
    """From the set-up commands to the exit codes."""
    for _ in range(2):  # a cluster repeats them at every upgrade
        for words in SETUP:
            containers.mailwarren(*words)
    report.check("setup and the first key: end with 0, and again when they are repeated", ok=True)
    smtp_url, http_url = containers.start_sink()
    containers.env["MAILWARREN_SMTP_URL"] = smtp_url
    names = [containers.start_ingest(), containers.start_tracker(), containers.start_sender("sender-1")]
    for name in ("sink", *names):
        report.check(f"{name}: ready", ok=True, detail=f"{containers.wait_ready(name):.1f} s")
    system = _asked(containers, folder, token, http_url)
    try:
        _send(containers, system, report)
    finally:
        system.close()
    _stop(containers, report)


def _asked(containers: Containers, folder: Path, token: str, sink_url: str) -> System:
    """The harness that asks API, database and sink; it starts nothing here."""
    owner = containers.accounts["setup"]
    system = System(folder, amqp_url=owner["MAILWARREN_AMQP_URL"], database_url=owner["MAILWARREN_DATABASE_URL"])
    at = containers.addresses["ingest"].replace("/readyz", "/v1")
    system.api = httpx.Client(base_url=at, headers={"Authorization": f"Bearer {token}"}, timeout=60)
    system.sink = SinkWitness(sink_url)
    return system


def _send(containers: Containers, system: System, report: Report) -> None:
    assert system.sink is not None  # noqa: S101 - _asked gave it one
    promises: list[Promise] = []
    system.sink.play({"domains": ["*"], "dot_latency_ms": _SLOW_MS})
    share = (MAILS - SINGLES) // len(Lane)
    for lane in Lane:
        promises += system.send_bulk([f"{lane}{number}@{lane}.test" for number in range(share)], lane=lane)
    # The first sender is stopped while mails are on their way: it ends what it has begun and hands back the rest,
    # which the second one takes.
    code, seconds = containers.stop("sender-1", "sender")
    warm = _WARM in containers.log("sender-1")
    open_then = len(promises) - system.sink.stats()["accepted"]
    system.sink.play()
    report.check(
        "sender: SIGTERM under load reaches Celery: warm shutdown, exit code 0",
        ok=warm and code == 0 and 0 < open_then < len(promises),
        detail=f"exit code {code} after {seconds:.1f} s, {open_then} mails still to send",
    )
    for number in range(SINGLES):
        address = f"one{number}@single.test"
        promises.append(system.promise(system.send(address).raise_for_status().json()["id"], address))
    report.check("API: every mail was accepted", ok=len(promises) == MAILS, detail=len(promises))
    containers.wait_ready(containers.start_sender("sender-2"))
    disagreement = system.settle(promises, _SETTLE_SECONDS)
    states = by_state(system.states(promises))
    report.check("Postgres: every mail is delivered", ok=states["delivered"] == MAILS, detail=dict(states))
    stats = system.sink.stats()
    report.check(
        "sink: each mail arrived once", ok=stats["accepted"] == MAILS and not stats["duplicates"], detail=_few(stats)
    )
    report.check(
        "the ledger balances: API, Postgres and sink agree on every mail", ok=disagreement.balanced, detail=disagreement
    )
    left = _until_empty(lambda: _in_queues(containers))
    report.check("RabbitMQ: all queues are empty", ok=not left, detail=left or "")


def _few(stats: dict[str, object]) -> str:
    return ", ".join(f"{name} {stats[name]}" for name in ("received", "accepted", "duplicates") if name in stats)


def _in_queues(containers: Containers) -> dict[str, int]:
    rows = [json.loads(line) for line in containers.mailwarren("queues", "--json").splitlines()]
    topology = Topology()
    return {row["name"]: row["messages"] for row in rows if row["messages"] and topology.holds_work(row["name"])}


def _until_empty(count: Callable[[], dict[str, int]], seconds: float = 20.0) -> dict[str, int]:
    end = time.monotonic() + seconds
    while (left := count()) and time.monotonic() < end:
        time.sleep(0.5)
    return left


def _stop(containers: Containers, report: Report) -> None:
    for name, service in (("ingest", "ingest"), ("sender-2", "sender"), ("tracker", "tracker"), ("sink", "sink")):
        code, seconds = containers.stop(name, service)
        ok = report.check(
            f"{name}: SIGTERM ends it with 0", ok=code == 0, detail=f"exit code {code} after {seconds:.1f} s"
        )
        if not ok:
            print(containers.log_end(name), flush=True)
