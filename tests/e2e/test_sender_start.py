"""A sender that cannot start ends, and takes no mail that it would never send."""

import json

import pytest

from mailwarren.devstack.harness.system import System

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize(
    "env",
    [
        {"MAILWARREN_SMTP_URL": "smtp://mail host:x"},
        {"MAILWARREN_TLS_CA_FILE": "no-such-file.pem"},
        {"MAILWARREN_SMTP_URL": "", "MAILWARREN_RESOLVER": "not-an-address:53"},
    ],
    ids=" ".join,
)
def test_wrong_settings_end_the_start_and_are_named(system: System, env: dict[str, str]) -> None:
    sender = system.start_sender(wait=False, env=env)
    assert sender.process.wait(timeout=30) == 1
    (line,) = [line for line in sender.tail().splitlines() if "sender.start.failed" in line]
    assert json.loads(line)["level"] == "critical"
    assert json.loads(line)["error"]
