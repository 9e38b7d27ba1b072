"""The real Flower over a real system, each part with an account of its own: who is online, what the tasks do."""

import secrets
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest

from mailwarren.contracts.access import Service
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.topology import Topology
from mailwarren.devstack.harness.system import System, wait_for
from mailwarren.ingest.commands.access import Accounts, apply_broker_access, user_name, vhost_of

pytestmark = pytest.mark.e2e

LOGIN = "watcher:a-good-password"
SECONDS = 30.0


class Watched:
    """A system with its Flower."""

    def __init__(self, system: System, accounts: Accounts) -> None:
        self.system = system
        self.accounts = accounts
        self.flower: httpx.Client

    def status(self) -> dict[str, bool]:
        """Who Flower says is online, by the name before the host."""
        said = self.flower.get("/api/workers", params={"status": "1"}).raise_for_status().json()
        return {name.partition("@")[0].removeprefix(self.system.prefix): alive for name, alive in said.items()}

    def tasks(self, name: str) -> list[dict[str, Any]]:
        """What Flower says of the tasks of a name."""
        said = self.flower.get("/api/tasks", params={"taskname": name}).raise_for_status().json()
        return list(said.values())


def as_service(url: str, accounts: Accounts, service: Service) -> dict[str, str]:
    parts = urlsplit(url)
    login = f"{user_name(service, accounts.name)}:{accounts.passwords[service]}"
    return {"MAILWARREN_AMQP_URL": parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}").geturl()}


@pytest.fixture(scope="module")
def watched(tmp_path_factory, rabbitmq, postgres, amqp_prefix) -> Iterator[Watched]:
    if rabbitmq.management_url is None:
        pytest.skip("the given RabbitMQ has no MAILWARREN_MANAGEMENT_URL")
    root = tmp_path_factory.mktemp("flower")
    system = System(root, amqp_url=rabbitmq.amqp_url, database_url=postgres.database_url, prefix=amqp_prefix)
    accounts = Accounts({one: secrets.token_hex(16) for one in Service}, f"mwt{secrets.token_hex(4)}")
    made = Watched(system, accounts)
    try:
        system.prepare()
        vhost = vhost_of(rabbitmq.amqp_url)
        apply_broker_access(rabbitmq.management_url, accounts, Topology(amqp_prefix, 0.01), vhost, 5)
        for service in Service:
            system.own_env[service] = as_service(rabbitmq.amqp_url, accounts, service)
        for lane in Lane:
            system.start_sender(f"sender-{lane}", [lane], wait=False)
        system.start_worker(wait=False)
        system.wait_ready()
        made.flower = system.start_flower(LOGIN, env={"MAILWARREN_FLOWER_INTERVAL": "1"})
        system.start_scheduler(env={"MAILWARREN_HEARTBEAT_EVERY": "1"})
        yield made
    finally:
        system.close()
        parts = urlsplit(rabbitmq.management_url)
        with httpx.Client(auth=(parts.username or "", parts.password or "")) as api:
            for service in Service:
                user = quote(user_name(service, accounts.name), safe="")
                api.delete(f"http://{parts.hostname}:{parts.port}/api/users/{user}")


def test_all_fleets_and_the_worker_are_online(watched: Watched) -> None:
    everybody = {*(f"sender-{lane}" for lane in Lane), "worker"}
    wait_for(lambda: watched.status() == dict.fromkeys(everybody, True), SECONDS, "the roll call")
    said = watched.flower.get("/api/workers", params={"refresh": "1"}).raise_for_status()
    queues = {
        name.partition("@")[0].removeprefix(watched.system.prefix): len(info["active_queues"])
        for name, info in said.json().items()
    }
    assert queues == {"sender-high": 12, "sender-normal": 12, "sender-bulk": 12, "worker": 1}
    page = watched.flower.get("/workers").text
    assert all(name in page for name in everybody)
    # Flower shows the configuration of workers, and the passwords in it are nobody's business.
    assert not any(password in said.text for password in watched.accounts.passwords.values())


def test_tasks_are_shown_with_their_states_and_results(watched: Watched) -> None:
    wait_for(lambda: len(watched.tasks("ops.heartbeat")) >= 2, SECONDS, "heartbeats")
    wait_for(lambda: watched.tasks("ops.heartbeat")[0]["state"] == "SUCCESS", SECONDS, "a success")
    task = watched.tasks("ops.heartbeat")[0]
    assert task["result"] == "'alive'"
    assert "attempt" in task["kwargs"]
    assert task["worker"].startswith(f"{watched.system.prefix}worker@")


def test_a_task_that_fails_is_shown_as_retried_and_then_as_failed(watched: Watched) -> None:
    watched.system.query("ALTER TABLE idempotency_keys RENAME COLUMN created_at TO hidden")
    try:
        watched.system.query("UPDATE periodic_jobs SET next_run_at = now() WHERE name = 'ops.retention'")
        states: set[str] = set()

        def failed() -> bool:
            states.update(task["state"] for task in watched.tasks("ops.retention"))
            return "FAILURE" in states

        wait_for(failed, SECONDS, "the failure", every=0.1)
        assert "RETRY" in states
    finally:
        watched.system.query("ALTER TABLE idempotency_keys RENAME COLUMN hidden TO created_at")


def test_it_is_for_those_who_know_the_password(watched: Watched) -> None:
    base = str(watched.flower.base_url).rstrip("/")
    for auth in (None, ("watcher", "wrong"), ("", "")):
        for path in ("/", "/api/workers", "/api/tasks", "/tasks"):
            assert httpx.get(f"{base}{path}", auth=auth).status_code == 401, path


def test_nobody_gives_orders_here(watched: Watched) -> None:
    wait_for(lambda: "worker" in watched.status(), SECONDS, "the roll call")
    (worker,) = [
        name for name in watched.flower.get("/api/workers?status=1").json() if name.split("@")[0].endswith("worker")
    ]
    for path in (
        f"/api/worker/shutdown/{worker}",
        f"/api/worker/queue/cancel-consumer/{worker}?queue=x",
        "/api/task/send-task/ops.heartbeat",
    ):
        assert watched.flower.post(path, json={"args": []}).status_code == 403, path
    time.sleep(1)
    assert watched.system.services["worker"].alive


def test_a_sender_that_ended_is_shown_as_offline(watched: Watched) -> None:
    wait_for(lambda: watched.status().get("sender-bulk", False), SECONDS, "the roll call")
    watched.system.services["sender-bulk"].stop()
    wait_for(lambda: watched.status()["sender-bulk"] is False, SECONDS, "its absence")
    # On a crowded machine a roll call may miss one that is alive.
    wait_for(lambda: watched.status()["sender-high"], SECONDS, "the others, which are still there")


def test_nobody_was_refused_a_right(watched: Watched) -> None:
    for name, service in watched.system.services.items():
        assert "ACCESS_REFUSED" not in service.log.read_text(), name
