"""`ingest api` as a process: its logs, its second port, its end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest


def environment(place):
    return os.environ | {
        "MAILWARREN_AMQP_URL": place.amqp_url,
        "MAILWARREN_AMQP_PREFIX": place.prefix,
        "MAILWARREN_DATABASE_URL": place.database_url,
        "MAILWARREN_API_HOST": "127.0.0.1",
        "MAILWARREN_API_PORT": "0",
        "MAILWARREN_METRICS_HOST": "127.0.0.1",
        "MAILWARREN_METRICS_PORT": "0",
        "MAILWARREN_LOG_LEVEL": "debug",
    }


@pytest.fixture
def process(place, tmp_path, wait_until):
    log = tmp_path / "api.log"
    command = [str(Path(sys.executable).parent / "ingest"), "api"]
    with log.open("wb") as out:
        child = subprocess.Popen(command, env=environment(place), stdout=out, stderr=out)
    found = Process(child, log)
    wait_until(lambda: any(line["event"] == "ingest.api.listening" for line in found.lines()), 20)
    wait_until(lambda: httpx.get(f"{found.root}/readyz", verify=False).status_code == 200)
    yield found
    if child.poll() is None:
        child.kill()
        child.wait()


class Process:
    def __init__(self, child, log):
        self.child, self.log = child, log

    def lines(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def line(self, event):
        return next(line for line in self.lines() if line["event"] == event)

    @property
    def root(self):
        return f"http://127.0.0.1:{self.line('ingest.api.listening')['port']}"


def test_logs_are_json_with_ids_and_without_addresses_and_it_ends_in_order(process, caller, mail, queues):
    headers = {"Authorization": f"Bearer {caller.token}", "x-request-id": "r-1"}
    secret = mail | {"to": "very-private@example.test", "text": "very private", "subject": "very private"}
    with httpx.Client(base_url=f"{process.root}/v1", headers=headers, verify=False) as client:
        sent = client.post("/emails", json=secret).json()["id"]
        client.post("/emails", json=secret | {"to": "very-private"})
        client.post("/emails/bulk", json={"from": "a@b.test", "subject": "x", "text": "x",
                                          "recipients": [{"to": "very-private@example.test"}]})  # fmt: skip
    metrics = httpx.get(f"{process.root}/metrics", verify=False).text
    assert 'mailwarren_ingest_accepted_deliveries_total{lane="normal"} 1.0' in metrics
    assert 'mailwarren_ingest_request_seconds_count{endpoint="send",status="2xx"} 1.0' in metrics
    assert 'mailwarren_ingest_refused_total{reason="validation_error"} 1.0' in metrics
    line = process.line("ingest.email.answered")
    assert (line["request_id"], line["email_id"], line["service"]) == ("r-1", sent, "ingest")
    assert "very" not in process.log.read_text()
    assert caller.token not in process.log.read_text()
    start = time.monotonic()
    process.child.send_signal(signal.SIGTERM)
    assert process.child.wait(10) == 0
    assert time.monotonic() - start < 8


DIES = """
import asyncio, sys
from mailwarren.ingest.adapters.unconfirmed import Unconfirmed
from mailwarren.ingest.main import main

async def follow(self):
    await asyncio.sleep(0.1)
    raise RuntimeError("a bug")

Unconfirmed.follow = follow
sys.exit(main(["api"]))
"""


def test_when_a_background_task_dies_the_process_ends_with_an_error(place):
    done = subprocess.run(
        [sys.executable, "-c", DIES], env=environment(place), capture_output=True, timeout=20, check=False
    )
    assert done.returncode == 1, done.stderr
    events = [json.loads(line)["event"] for line in (done.stdout + done.stderr).splitlines()]
    assert "ingest.task.died" in events
    assert "ingest.api.stopping" in events
