"""An unexpected exception in each service reaches what SENTRY_DSN names, and nothing of the mail goes with it."""

import json
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


def reports(sentry: Receiver) -> list[dict[str, Any]]:
    """The events of all envelopes, which hold nothing else."""
    items = [item for posted in list(sentry.posted) for item in posted.envelope()]
    assert {head["type"] for head, _ in items} <= {"event"}
    return [body for _, body in items]
