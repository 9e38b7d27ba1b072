"""Locust on the whole system: every kind of user, two workers whose API restarts under them, and an interrupted run.

Each run's mails are counted four times. Locust runs in processes of its own: importing it patches all I/O.
"""

import asyncio
import json
import os
import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psutil
import pytest

from mailwarren.devstack.demo.queues import Queues
from mailwarren.devstack.demo.targets import Targets
from mailwarren.devstack.harness.service import Service
from mailwarren.devstack.harness.system import BIN, System, wait_for
from mailwarren.devstack.load import account
from mailwarren.devstack.ports import free_ports
from mailwarren.load.ledger import FILE, read

pytestmark = pytest.mark.e2e

SINCE = timedelta(minutes=5)
KINDS = {
    ("POST", "/v1/emails"),
    ("POST", "/v1/emails/batch"),
    ("POST", "/v1/emails/bulk"),
    ("GET", "/v1/emails/{id}"),
    ("GET", "/v1/emails/{id}/timeline"),
    ("GET", "/v1/emails?limit&after"),
    ("mail", "accept→delivered"),
}


@pytest.fixture(scope="module")
def loaded(module_system: System) -> System:
    module_system.start_all(senders=1)
    return module_system


class Run:
    """One ``mailwarren-load run`` on a system."""

    def __init__(self, system: System, folder: Path, *arguments: str) -> None:
        assert system.api
        assert system.sink
        self.folder = folder
        self.output = folder.with_suffix(".txt")
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("MAILWARREN", "LOCUST"))},
            "MAILWARREN_API_URL": str(system.api.base_url).rstrip("/"),
            "MAILWARREN_API_KEY": system.token,
            "MAILWARREN_SINK_URL": str(system.sink._client.base_url).rstrip("/"),
            "MAILWARREN_AMQP_URL": system.amqp_url,
            "MAILWARREN_AMQP_PREFIX": system.prefix,
            "MAILWARREN_DATABASE_URL": system.database_url,
            "MAILWARREN_RETRY_SCALE": system.env["MAILWARREN_RETRY_SCALE"],
        }
        self.targets = Targets.of(self.env)
        self.queues = Queues(self.targets)
        asyncio.run(self.queues.check())
        command = [str(BIN / "mailwarren-load"), "run", "--folder", str(folder), "--run", folder.name, *arguments]
        with self.output.open("wb") as file:
            self.process = subprocess.Popen(command, env=self.env, stdout=file, stderr=subprocess.STDOUT)

    def wait(self, timeout: float = 60) -> int:
        try:
            return self.process.wait(timeout)
        finally:
            self.process.kill()

    @property
    def text(self) -> str:
        return self.output.read_text()

    def summary(self) -> dict[tuple[str, str], tuple[int, int]]:
        entries = json.loads((self.folder / "summary.json").read_text())["entries"]
        return {(kind, name): (requests, failures) for kind, name, requests, failures in entries}

    def balances(self) -> bool:
        """The four counts, as ``make load`` lays them side by side."""
        since = datetime.now(UTC) - SINCE
        return asyncio.run(account(self.targets, self.queues, self.folder, self.folder.name, since))


def locusts(run: Run) -> list[psutil.Process]:
    return [one for one in psutil.Process(run.process.pid).children(recursive=True) if "locust" in one.cmdline()]


def test_every_kind_of_user_has_right_answers_and_every_mail_its_end(loaded: System, tmp_path: Path, capsys) -> None:
    (port,) = free_ports(1)
    quick = ("--users", "20", "--rate", "80", "--time", "7", "--most", "200", "--metrics", f"127.0.0.1:{port}")
    run = Run(loaded, tmp_path / "every-kind", *quick)
    wait_for(lambda: " users | " in run.text, 30, "the first line of progress")
    shown = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    assert "mailwarren_load_users 20.0" in shown
    assert 'mailwarren_load_requests_total{name="/v1/emails",type="POST"}' in shown
    assert run.wait() == 0, run.text
    assert " left" in run.text
    made = run.summary()
    assert {kind for kind in KINDS if not made.get(kind, (0, 0))[0]} == set()
    assert {kind: failures for kind, (_, failures) in made.items() if failures} == {}
    yes, silences = read(run.folder)
    assert not silences
    assert len(yes) == len({one.id for one in yes}) > 250
    assert {one.lane for one in yes} == {"high", "normal", "bulk"}
    assert {one.address.rpartition("@")[2] for one in yes} > {"gmail.com", "icloud.com"}
    assert run.text.rstrip().endswith("LEDGER BALANCES")
    assert run.balances()
    assert "LEDGER BALANCES" in capsys.readouterr().out
    assert "/v1/emails/batch" in (run.folder / "report.html").read_text()
    assert (run.folder / "stats_stats.csv").stat().st_size > 200
    # A mail that nobody has a yes for is named: the test of the ledger itself.
    ledger = run.folder / FILE
    ledger.write_text("".join(ledger.read_text().splitlines(keepends=True)[1:]))
    assert not run.balances()
    assert "1 in Postgres, and not in the API's answers" in capsys.readouterr().out


def test_two_workers_outlive_a_restart_of_the_api_and_no_mail_is_lost_or_doubled(
    loaded: System, tmp_path: Path
) -> None:
    arguments = ("--scenario", "single", "--users", "12", "--rate", "120", "--time", "7", "--workers", "2")
    run = Run(loaded, tmp_path / "two-workers", *arguments)
    wait_for(lambda: (run.folder / FILE).exists() and (run.folder / FILE).stat().st_size > 0, 30, "a mail")
    assert len(locusts(run)) == 3
    restart_api(loaded)
    assert run.wait() == 0, run.text
    made = run.summary()
    assert sum(count for (kind, _), (count, _) in made.items() if kind == "backpressure") > 0
    assert {kind: failures for kind, (_, failures) in made.items() if failures} == {}
    yes, silences = read(run.folder)
    assert not silences
    assert len(yes) == made["POST", "/v1/emails"][0], "the master has an id for every yes of its workers"
    assert run.balances()
    assert not [log for log in run.folder.glob("worker-*.log") if "Traceback" in log.read_text()]


def restart_api(system: System) -> None:
    """Ends and comes back at the same address, as a pod behind a Service does.

    One that is killed costs the calls in its hands the 30 s for which their keys are leased: too long for here.
    """
    assert system.api
    client = system.api
    ingest: Service = system.services["ingest"]
    ingest.stop()
    system.start_ingest(wait=False, name="ingest-2", MAILWARREN_API_PORT=str(client.base_url.port))
    assert system.api is not None
    system.api.close()
    system.api = client


@pytest.mark.parametrize("workers", ["0", "2"])
def test_an_interrupted_run_ends_in_order_and_leaves_nothing(loaded: System, tmp_path: Path, workers: str) -> None:
    arguments = ("--users", "8", "--time", "600", "--most", "100", "--workers", workers)
    run = Run(loaded, tmp_path / f"interrupted-{workers}", *arguments)
    wait_for(lambda: (run.folder / FILE).exists() and (run.folder / FILE).stat().st_size > 0, 30, "a mail")
    children = locusts(run)
    begun = time.monotonic()
    run.process.send_signal(signal.SIGINT)
    assert run.wait() == 130, run.text
    assert time.monotonic() - begun < 15
    assert psutil.wait_procs(children, timeout=2)[1] == []
    assert "Aggregated" in run.text, "no summary"
    assert run.text.rstrip().endswith("LEDGER BALANCES")
    assert run.balances()
    assert (run.folder / "report.html").exists()


@pytest.fixture(scope="module")
def with_lists(loaded: System) -> System:
    loaded.start_worker()
    loaded.start_scheduler()
    loaded.start_webhooks()
    return loaded


def test_lists_are_imported_and_every_mail_of_every_broadcast_has_its_end(with_lists: System, tmp_path: Path) -> None:
    arguments = ("--scenario", "broadcast", "--users", "8", "--rate", "40", "--time", "6", "--most", "150")
    run = Run(with_lists, tmp_path / "broadcast", *arguments)
    assert run.wait(90) == 0, run.text
    made = run.summary()
    assert {kind: failures for kind, (_, failures) in made.items() if failures} == {}
    lists, sent = made["import", "upload→completed"][0], made["broadcast", "send→sent"][0]
    assert lists >= 1
    assert sent >= 1
    yes, silences = read(run.folder)
    assert not silences
    assert sum(one.lane == "bulk" for one in yes) == 150 * sent
    assert run.text.rstrip().endswith("LEDGER BALANCES")
    assert run.balances()


def test_receivers_are_told_of_deliveries_with_signatures_that_hold(with_lists: System, tmp_path: Path) -> None:
    arguments = ("--scenario", "webhook", "--users", "10", "--rate", "40", "--time", "6")
    run = Run(with_lists, tmp_path / "webhook", *arguments)
    assert run.wait() == 0, run.text
    made = run.summary()
    assert {kind: failures for kind, (_, failures) in made.items() if failures} == {}
    assert made["webhook", "email.delivered"][0] > 50
    assert made["DELETE", "/v1/webhooks/{id}"][0] >= 1
    assert run.balances()


def test_a_system_far_away_is_not_loaded(loaded: System, tmp_path: Path) -> None:
    run = Run(loaded, tmp_path / "far", "--url", "https://mail.example.com/v1")
    assert run.wait() == 2
    assert "MAILWARREN_LOAD_ANYWHERE=1" in run.text
    assert not run.folder.exists()
