"""Error reports and spans are off unless a setting asks for them, and cost nothing then."""

import json
import subprocess
import sys
import time
from typing import Any

import pytest
from pydantic import ValidationError

from mailwarren.runtime import tracing
from mailwarren.runtime.settings import Settings, load

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def run(code: str, **env: str) -> Any:
    """The JSON that ``code`` prints last, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout.splitlines()[-1])


LOADED = """
import json, sys, threading
from mailwarren.runtime.observe import observe
from mailwarren.runtime.settings import Settings
observe("ingest", Settings())
loaded = [name for name in ("sentry_sdk", "opentelemetry.sdk", "google.protobuf") if name in sys.modules]
print(json.dumps([loaded, threading.active_count()]))
"""


def test_without_settings_no_sdk_is_imported_and_no_thread_started() -> None:
    assert run(LOADED) == [[], 1]
    assert run(LOADED, SENTRY_DSN="", OTEL_EXPORTER_OTLP_ENDPOINT="") == [[], 1]


def test_each_setting_brings_its_own_sdk_only() -> None:
    assert run(LOADED, SENTRY_DSN="http://key@127.0.0.1:9/1")[0] == ["sentry_sdk"]
    assert run(LOADED, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")[0] == ["opentelemetry.sdk", "google.protobuf"]


@pytest.mark.parametrize("wrong", ["sentry", "https://host/1", "https://key@host/", "https://key@host/project"])
def test_a_wrong_dsn_stops_the_start_without_showing_it(wrong: str) -> None:
    with pytest.raises(ValidationError, match=r"https://key@host/project|http://host:port") as raised:
        Settings(sentry_dsn=wrong)
    assert f"'{wrong}'" not in str(raised.value)


def test_a_wrong_endpoint_is_named_as_it_is_set(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://collector:4317")
    with pytest.raises(SystemExit):
        load(Settings, "ingest")
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in json.loads(capsys.readouterr().out)["reasons"]


def test_spans_that_nobody_records_pass_the_context_on() -> None:
    assert not tracing.recording()
    with tracing.span("a", PARENT, "client", site="x") as span:
        span.name("b")
        span.tell(code=250)
        span.fail("no")
    assert span.traceparent is PARENT


def test_spans_that_nobody_records_cost_a_mail_next_to_nothing() -> None:
    # A mail meets four of them; a mail costs a sender about 290 µs of CPU (docs/adr/0002).
    def once(count: int = 20_000) -> float:
        began = time.process_time()
        for _ in range(count):
            with tracing.span("smtp attempt", PARENT, "client"):
                pass
        return (time.process_time() - began) / count

    assert min(once() for _ in range(5)) < 2e-6
