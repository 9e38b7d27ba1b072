"""The whole system through the code behind ``make up``, ``send``, ``scale`` and ``down``."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from mailwarren.devstack.env_file import read_env
from mailwarren.devstack.errors import DevstackError
from mailwarren.devstack.send import send
from mailwarren.devstack.stack import Stack
from mailwarren.devstack.state import LocalDir, read_state

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    for name in [name for name in os.environ if name.startswith("MAILWARREN_")]:
        monkeypatch.delenv(name)
    tmp_path.chmod(0o755)
    made = Stack(LocalDir(tmp_path / "a clone" / ".local"))
    yield made
    made.down()
    made.clean()


def _until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def _users(management_url: str) -> set[str]:
    """Who is connected to the broker, as the management API knows it some seconds later."""
    return {one.get("user", "") for one in httpx.get(f"{management_url}/api/connections").raise_for_status().json()}


def test_the_system_comes_up_delivers_heals_and_leaves_nothing(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    at = stack.up(retry_scale=0.01)
    env = read_env(stack.local.env)
    key = {"Authorization": f"Bearer {env['MAILWARREN_API_KEY']}"}
    assert httpx.get(f"{env['MAILWARREN_API_URL']}/emails", headers=key).status_code == 200

    assert send(stack, "someone@example.com", None) == 0
    said = capsys.readouterr().out
    assert "delivered 250" in said
    assert httpx.get(f"{env['MAILWARREN_SINK_URL']}/stats").json()["received"] == 1

    assert at.management_url
    url, services = at.management_url, {"mailwarren-ingest", "mailwarren-sender", "mailwarren-tracker"}
    _until(lambda: _users(url) == services, 15)

    killed = stack.supervisor.status()["tracker"].pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    _until(lambda: stack.supervisor.status()["tracker"].pid not in (killed, None), 2)

    assert stack.up(retry_scale=0.01) == at  # nothing to do: the same system
    assert stack.supervisor.status()["tracker"].restarts == 1
    assert stack.api_key() == env["MAILWARREN_API_KEY"]

    processes = [record for record in read_state(stack.local).processes if record.find()]
    family = [child for record in processes for child in psutil.Process(record.pid).children(recursive=True)]
    assert stack.down()
    assert [record.name for record in processes if record.find()] == []
    assert [child for child in family if child.is_running() and child.status() != psutil.STATUS_ZOMBIE] == []
    assert not stack.local.env.exists()
    assert not stack.down()


@pytest.mark.broker
@pytest.mark.postgres
def test_given_servers_are_used_and_survive(
    stack: Stack, rabbitmq: Any, postgres: Any, amqp_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAILWARREN_AMQP_URL", rabbitmq.amqp_url)
    monkeypatch.setenv("MAILWARREN_AMQP_PREFIX", amqp_prefix)
    monkeypatch.setenv("MAILWARREN_DATABASE_URL", postgres.database_url)
    at = stack.up()

    assert at.amqp_url == rabbitmq.amqp_url
    assert at.database_url == postgres.database_url
    first = set(stack.supervisor.status())
    assert not {"rabbitmq", "epmd", "postgres"} & first

    stack.scale(2, workers=2)
    assert {"worker", "worker-2", "scheduler"} <= set(stack.supervisor.status())
    senders = {name for name in stack.supervisor.status() if name.startswith("sender-")}
    assert senders == {f"sender-{lane}-{number}" for lane in ("high", "normal", "bulk") for number in (1, 2)}
    assert send(stack, "someone@example.com", "Me <me@example.org>") == 0
    stack.scale(workers=1)
    assert set(stack.supervisor.status()) == first | senders
    stack.scale(1)
    assert set(stack.supervisor.status()) == first

    with pytest.raises(DevstackError, match="at least 1"):
        stack.scale(0)


def test_a_given_server_that_does_not_answer_is_named_without_its_password(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    monkeypatch.setenv("MAILWARREN_AMQP_URL", f"amqp://me:sesame@127.0.0.1:{unused_tcp_port}/mail")
    monkeypatch.setenv("MAILWARREN_DATABASE_URL", f"postgresql://me:sesame@127.0.0.1:{unused_tcp_port}/mail")

    with pytest.raises(DevstackError, match="MAILWARREN_AMQP_URL") as raised:
        stack.up()

    assert "sesame" not in str(raised.value)
    assert not stack.supervisor.is_running()
