"""An unexpected exception in each service reaches what SENTRY_DSN names, and nothing of the mail goes with it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from mailwarren.devstack.harness.receiver import Receiver
from mailwarren.devstack.harness.system import System, wait_for
from mailwarren.devstack.ports import free_ports

pytestmark = pytest.mark.e2e

FAILING = Path(__file__).parent / "crashing"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
GIVEN = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}


def start_failing(system: System) -> None:
    system.start_sink()
    (ingest_port, tracker_port) = free_ports(2)
    script = str(FAILING / "failing.py")
    system._start(
        "ingest",
        [sys.executable, script, "ingest", "api"],
        {"MAILWARREN_API_HOST": "127.0.0.1", "MAILWARREN_API_PORT": str(ingest_port)},
    )
    system._expect("ingest", ingest_port, wait=False)
    system._start(
        "tracker", [sys.executable, script, "tracker", "consume"], {"MAILWARREN_METRICS_PORT": str(tracker_port)}
    )
    system._expect("tracker", tracker_port, wait=False)
    system.start_sender(app="failing:app", env={"PYTHONPATH": str(FAILING)}, wait=False)
    system.wait_ready()
    import httpx

    system.api = httpx.Client(
        base_url=f"http://127.0.0.1:{ingest_port}/v1", headers={"Authorization": f"Bearer {system.token}"}, timeout=20
    )


def test_an_unexpected_exception_in_each_service_is_reported_without_secrets(system: System) -> None:
    with Receiver() as sentry:
        system.env["SENTRY_DSN"] = f"http://0123abcd@127.0.0.1:{sentry.port}/17"
        system.env["SENTRY_RELEASE"] = "mailwarren@0.1.0"
        start_failing(system)
        assert system.api
        mail = {"from": "Ada <ada@sender.test>", "to": "bob@secret.test", "text": "Nobody else's business."}
        broken = system.api.post("/emails", json={**mail, "subject": "break ingest"}, headers=GIVEN)
        assert broken.status_code == 500
        assert system.api.post("/emails", json={**mail, "subject": "Hello"}, headers=GIVEN).status_code == 200
        wait_for(lambda: len(reports(sentry)) >= 3, 15, "three reports")

    found = {report["tags"]["service"]: report for report in reports(sentry)}
    assert {service: report["tags"]["event"] for service, report in found.items()} == {
        "ingest": "ingest.request.crashed",
        "sender": "sender.delivery.error",
        "tracker": "tracker.message.surprise",
    }
    assert {report["tags"].get("trace_id") for report in found.values()} == {TRACE}
    types = {service: [one["type"] for one in report["exception"]["values"]] for service, report in found.items()}
    assert types == {"ingest": ["ValueError"], "sender": ["KeyError"], "tracker": ["RuntimeError"]}
    innermost = {
        service: report["exception"]["values"][-1]["stacktrace"]["frames"][-1] for service, report in found.items()
    }
    assert {service: frame["function"] for service, frame in innermost.items()} == {
        "ingest": "validate",
        "sender": "build_mail",
        "tracker": "read",
    }
    assert all(frame["lineno"] > 10 and frame["filename"].endswith("failing.py") for frame in innermost.values())
    assert {report["release"] for report in found.values()} == {"mailwarren@0.1.0"}
    assert {posted.path for posted in sentry.posted} == {"/api/17/envelope/"}

    sent = b"".join(json.dumps(posted.headers).encode() + posted.body for posted in sentry.posted)
    passwords = [urlsplit(url).password for url in (system.amqp_url, system.database_url)]
    secrets = ["secret.test", "bob@", "sender.test", "Nobody else", "break ingest", "Hello", "known_here", system.token]
    for secret in [*secrets, *filter(None, passwords)]:
        assert secret.encode() not in sent, secret


CELERY = """
import sys
from celery import Celery, signals
from celery.contrib.testing.worker import start_worker
from mailwarren.runtime.observe import observe
from mailwarren.runtime.settings import Settings

settings = Settings()
app = Celery("ops", broker="memory://", backend="cache+memory://")
signals.setup_logging.connect(lambda **_: observe("ingest", settings), weak=False)

@app.task
def fails(address):
    raise LookupError(f"no {address}")

observe("ingest", settings)
with start_worker(app, pool="threads", concurrency=2, perform_ping_check=False):
    fails.delay("bob@secret.test").get(timeout=10, propagate=False)
"""


def test_a_celery_task_that_fails_in_a_thread_is_reported_and_the_exit_waits_for_it() -> None:
    with Receiver() as sentry:
        env = {"SENTRY_DSN": f"http://0123abcd@127.0.0.1:{sentry.port}/17"}
        done = subprocess.run(
            [sys.executable, "-c", CELERY], env=env, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        (report,) = reports(sentry)
    assert [one["type"] for one in report["exception"]["values"]] == ["LookupError"]
    assert (report["tags"]["service"], report["tags"]["event"]) == ("ingest", "celery.app.trace")
    assert "secret.test" not in json.dumps(report)


def test_what_ends_the_process_is_reported() -> None:
    code = """
from mailwarren.runtime.observe import observe
from mailwarren.runtime.settings import Settings
observe("tracker", Settings())
raise ExceptionGroup("of bob@secret.test", [OSError("for bob@secret.test")])
"""
    with Receiver() as sentry:
        env = {"SENTRY_DSN": f"http://0123abcd@127.0.0.1:{sentry.port}/17"}
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 1
        (report,) = reports(sentry)
    assert {one["type"] for one in report["exception"]["values"]} == {"ExceptionGroup", "OSError"}
    assert report["tags"] == {"service": "tracker"}
    assert "secret.test" not in json.dumps(report)


def reports(sentry: Receiver) -> list[dict[str, Any]]:
    """The events of all envelopes, which hold nothing else."""
    items = [item for posted in list(sentry.posted) for item in posted.envelope()]
    assert {head["type"] for head, _ in items} <= {"event"}
    return [body for _, body in items]
