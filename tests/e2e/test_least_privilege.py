"""The whole system with an account of its own for each service, and what each account is refused."""

import asyncio
import contextlib
import json
import re
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import UUID

import amqp
import asyncpg
import httpx
import pytest
from celery import Celery
from kombu import Connection

from mailwarren.contracts.access import MARKER_KEY, Service
from mailwarren.contracts.codec import encode, headers_of
from mailwarren.contracts.egress import WARMUP_KEY
from mailwarren.contracts.events import Cancel
from mailwarren.contracts.topology import Topology
from mailwarren.devstack.harness.doubles import unexcused
from mailwarren.devstack.harness.system import BIN, System, wait_for
from mailwarren.ingest.commands.access import (
    Accounts,
    apply_broker_access,
    apply_database_access,
    role_name,
    user_name,
)

pytestmark = pytest.mark.e2e

PREFIX = "lp-1."
TOPOLOGY = Topology(PREFIX, 0.01)
LATER = {"stage": "rcpt", "code": 451, "enhanced": "4.3.0", "text": "not now", "first_attempts": 1}
NOT_YET = {"stage": "rcpt", "code": 451, "enhanced": "4.7.1", "text": "not yet"}
NOBODY = {"stage": "rcpt", "code": 550, "enhanced": "5.1.1", "text": "no such user"}
REFUSALS = ("ACCESS_REFUSED", "AccessRefused", "permission denied", "InsufficientPrivilege")


@dataclass
class Place:
    """A system in a virtual host and a database of its own, with the accounts made."""

    system: System
    accounts: Accounts
    admin_url: str

    def amqp_url(self, service: Service) -> str:
        """The broker as a service."""
        parts = urlsplit(self.system.amqp_url)
        login = f"{user_name(service, self.accounts.name)}:{self.accounts.passwords[service]}"
        return parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}").geturl()

    def database_url(self, service: Service) -> str:
        """The database as a service."""
        parts = urlsplit(self.system.database_url)
        login = f"{role_name(service, self.accounts.name)}:{self.accounts.passwords[service]}"
        return parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}").geturl()

    def management_url(self) -> str:
        """The management API as ingest."""
        parts = urlsplit(self.admin_url)
        login = f"{user_name(Service.INGEST, self.accounts.name)}:{self.accounts.passwords[Service.INGEST]}"
        return parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}").geturl()

    @contextlib.contextmanager
    def channel(self, service: Service) -> Iterator[Any]:
        """A channel with confirms, as a service."""
        parts = urlsplit(self.amqp_url(service))
        with amqp.Connection(
            host=f"{parts.hostname}:{parts.port}",
            userid=parts.username,
            password=parts.password,
            virtual_host=parts.path[1:],
            confirm_publish=True,
        ) as connection:
            yield connection.channel()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, rabbitmq: Any, postgres: Any) -> Iterator[Place]:
    """Accounts first, then topology, schema and grants; nothing runs yet."""
    if rabbitmq.management_url is None:
        pytest.skip("the given RabbitMQ has no MAILWARREN_MANAGEMENT_URL")
    name = f"mwt{secrets.token_hex(4)}"
    passwords = {service: secrets.token_hex(16) for service in Service}
    accounts = Accounts(passwords, name, monitoring=True)
    vhost = name
    url = urlsplit(rabbitmq.amqp_url)._replace(path=f"/{vhost}").geturl()
    root = tmp_path_factory.mktemp("system")
    system = System(root, amqp_url=url, database_url=postgres.database_url, prefix=PREFIX)
    made = Place(system, accounts, rabbitmq.management_url)
    try:
        apply_broker_access(rabbitmq.management_url, accounts, TOPOLOGY, vhost, 10)
        system.prepare()
        asyncio.run(apply_database_access(postgres.database_url, accounts, 10))
        for service in Service:
            system.own_env[service.value] = {"MAILWARREN_AMQP_URL": made.amqp_url(service)}
        for service in (Service.INGEST, Service.TRACKER):
            system.own_env[service.value]["MAILWARREN_DATABASE_URL"] = made.database_url(service)
        system.own_env["sender"]["MAILWARREN_DATABASE_URL"] = "postgresql://nobody@127.0.0.1:1/nothing"
        system.own_env["ingest"]["MAILWARREN_MANAGEMENT_URL"] = made.management_url()
        yield made
    finally:
        system.close()
        _forget(made, vhost)


def _forget(place: Place, vhost: str) -> None:
    parts = urlsplit(place.admin_url)
    login = (parts.username or "", parts.password or "")
    with httpx.Client(base_url=f"http://{parts.hostname}:{parts.port}/api/", auth=login, timeout=30) as api:
        api.delete(f"vhosts/{quote(vhost, safe='')}")
        for service in Service:
            api.delete(f"users/{user_name(service, place.accounts.name)}")
    for service in (Service.INGEST, Service.TRACKER):
        role = role_name(service, place.accounts.name)
        place.system.query(f"DROP OWNED BY {role}")
        place.system.query(f"DROP ROLE {role}")


def test_the_whole_journey_needs_no_more_than_the_accounts_have(place: Place) -> None:
    system = place.system
    (old,) = system.query("SELECT make_events_partition(current_date - 40) AS made")
    assert old["made"]
    system.start_all(senders=2)
    system.start_webhooks()
    assert system.sink
    assert system.api
    hook = {"endpoint": "http://127.0.0.1:1/", "events": ["email.delivered", "contact.created"]}
    webhook = system.api.post("/webhooks", json=hook).raise_for_status().json()["id"]
    system.api.post("/contacts", json={"email": "ada@d1.test"}).raise_for_status()
    time.sleep(1.2)  # the tracker looks for webhooks every second
    system.sink.play({"domains": ["later.test"], "rules": [LATER]}, {"domains": ["gone.test"], "rules": [NOT_YET]})
    promises = [system.promise(system.send("one@d1.test", priority="high").json()["id"], "one@d1.test")]
    mails = [
        {"from": "Ada <ada@sender.test>", "to": to, "subject": "Hello", "text": "Hello, you."}
        for to in ("two@d2.test", "three@later.test")
    ]
    answer = system.api.post("/emails/batch", json=mails, headers={"Idempotency-Key": "least"}).raise_for_status()
    promises += [system.promise(one["id"], mail["to"]) for one, mail in zip(answer.json()["data"], mails, strict=True)]
    canceled = system.promise(system.send("x@gone.test").json()["id"], "x@gone.test")
    kept = system.promise(system.send("y@gone.test").json()["id"], "y@gone.test")
    promises.append(kept)
    wait_for(lambda: set(system.states([canceled, kept]).values()) == {"deferred"}, 20, "the deferrals")
    system.api.post(f"/emails/{canceled.email_id}/cancel").raise_for_status()
    _forge_cancel(place, kept.email_id)
    system.sink.play({"domains": ["*"], "dot_latency_ms": 20})

    before = system.sink.stats()["accepted"]
    promises += system.send_bulk([f"u{n}@d{n % 40}.test" for n in range(1500)])
    _publish_nonsense(system)
    wait_for(lambda: system.sink.stats()["accepted"] >= before + 300, 30, "a part of the bulk mail")
    killed_at = system.services["sender0"].kill()
    _expect_pong(system)

    found = system.settle([*promises, canceled], timeout=60)
    assert found.balanced, str(found)
    assert unexcused([promise for promise, _ in found.doubled], system.sink.records(), [killed_at]) == []
    states = system.states([*promises, canceled])
    assert set(states.values()) == {"delivered", "canceled"}
    assert states[canceled.email_id, canceled.address] == "canceled"

    tried = "SELECT DISTINCT d.kind FROM webhook_deliveries d JOIN webhook_attempts a ON a.event = d.id"
    wait_for(lambda: len(system.query(tried)) == 2, 20, "tries of what the tracker and ingest have told")
    events = system.api.get(f"/webhooks/{webhook}/events").json()["data"]
    system.api.post(f"/webhooks/{webhook}/events/{events[0]['id']}/replay").raise_for_status()
    _bounce_until_paused(system)

    # What the killed sender had was asked about, and the answers came: nothing waited for its patience to end.
    assert _metric(system, "tracker", "mailwarren_tracker_answers_total") > 0
    assert _metric(system, "sender1", "mailwarren_sender_settle_total") > 0
    assert _metric(system, "sender1", "mailwarren_sender_sent_unsettled_total") == 0
    assert _metric(system, "ingest", "mailwarren_ingest_unknown_depths") == 0
    assert _days(system) == [0, 1, 2, 3]
    dead = [json.loads(line) for line in system.command("mailwarren", "dead", "list").splitlines()]
    assert sorted(one["from"] for one in dead) == [f"{PREFIX}send.normal.h1", f"{PREFIX}tracker.accepted.normal"]
    assert "deleted 2" in system.command("mailwarren", "dead", "purge", "--yes")
    assert system.left_in_broker() == {}
    assert [line for log in system.root.glob("*.log") for line in _refusals(log)] == []


def _forge_cancel(place: Place, email_id: str) -> None:
    """A cancel by a sender, under the only key that it may use: every other sender ignores it."""
    cancel = Cancel(UUID(email_id), UUID(int=0), time.time())
    message = amqp.Message(encode(cancel), application_headers=headers_of(cancel))
    with place.channel(Service.SENDER) as channel:
        channel.basic_publish_confirm(message, TOPOLOGY.control_log.name, MARKER_KEY)
    logs = [place.system.root / f"sender{number}.log" for number in range(2)]
    wait_for(lambda: all("sender.control.foreign" in log.read_text() for log in logs), 10, "the senders to ignore it")


def _bounce_until_paused(system: System) -> None:
    """The tracker pauses the tenant's bulk mail over the control log, ingest reads that, and a person goes on."""
    api = system.api
    assert api
    assert system.sink
    system.sink.play({"domains": ["nobody.test"], "rules": [NOBODY]})
    # Of the 1,500 and some more that were delivered, and these: more than a tenth.
    promises = system.send_bulk([f"u{number}@nobody.test" for number in range(250)])
    found = system.settle(promises)
    assert not (found.missing_rows or found.without_end), str(found)
    assert set(system.states(promises).values()) == {"bounced"}
    assert api.get("/emails/metrics").raise_for_status().json()["totals"]["bounced"] == len(promises)
    wait_for(lambda: api.get("/breaker").json()["pauses"] != [], 40, "the pause")
    taken = []

    def is_refused() -> bool:
        answer = system.send("late@nobody.test", priority="bulk")
        if answer.is_success:
            taken.append(system.promise(answer.json()["id"], "late@nobody.test"))
        return answer.status_code == httpx.codes.FORBIDDEN

    wait_for(is_refused, 10, "the refusal")
    api.post("/breaker/resume").raise_for_status()
    found = system.settle(taken)
    assert not (found.missing_rows or found.without_end), str(found)


def _publish_nonsense(system: System) -> None:
    with Connection(system.amqp_url) as connection:
        connection.Producer().publish(
            b"not a parcel", exchange=TOPOLOGY.accept.name, routing_key="normal.h1", content_type="application/json"
        )


def _expect_pong(system: System) -> None:
    """Celery's remote control, as Flower and an operator use it."""
    app = Celery("operator", broker=system.amqp_url)
    app.conf.control_exchange = f"{PREFIX}celery"
    answers = app.control.ping(timeout=5, limit=1)
    assert len(answers) == 1, answers
    app.close()


def _metric(system: System, service: str, name: str) -> float:
    text = system.metrics(service)
    if service == "ingest":
        assert name in text
    return sum(
        float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith((f"{name}{{", f"{name} "))
    )


def _days(system: System) -> list[int]:
    """The days of which there are partitions, counted from today."""
    rows = system.query(
        "SELECT to_date(right(inhrelid::regclass::text, 8), 'YYYYMMDD') - (now() AT TIME ZONE 'UTC')::date AS day "
        "FROM pg_inherits WHERE inhparent = 'events'::regclass AND inhrelid::regclass::text <> 'events_default' "
        "ORDER BY 1"
    )
    return [row["day"] for row in rows]


def _refusals(log: Path) -> list[str]:
    lines = log.read_text(errors="replace").splitlines()
    return [f"{log.name}: {line}" for line in lines if any(word in line for word in REFUSALS)]


def consume(queue: str) -> Callable[[Any], object]:
    return lambda channel: channel.basic_consume(PREFIX + queue)


def get(queue: str) -> Callable[[Any], object]:
    return lambda channel: channel.basic_get(PREFIX + queue)


def declare(queue: str) -> Callable[[Any], object]:
    return lambda channel: channel.queue_declare(PREFIX + queue, durable=True, auto_delete=False)


def delete(queue: str) -> Callable[[Any], object]:
    return lambda channel: channel.queue_delete(PREFIX + queue)


def purge(queue: str) -> Callable[[Any], object]:
    return lambda channel: channel.queue_purge(PREFIX + queue)


def publish(exchange: str, key: str) -> Callable[[Any], object]:
    name = PREFIX + exchange if exchange else ""
    return lambda channel: channel.basic_publish_confirm(amqp.Message(b"{}"), name, key)


def bind(queue: str, exchange: str) -> Callable[[Any], object]:
    return lambda channel: channel.queue_bind(PREFIX + queue, PREFIX + exchange, "#")


@pytest.mark.parametrize(
    ("service", "what", "act"),
    [
        (Service.SENDER, "read the tracker's queues", consume("tracker.events.0")),
        (Service.SENDER, "empty the tracker's queues", purge("tracker.accepted.bulk")),
        (Service.SENDER, "read dead letters", get("mail.dead")),
        (Service.SENDER, "accept mail", publish("mail.accept", "bulk.h1")),
        (Service.SENDER, "cancel mail", publish("mail.control.log", "3")),
        (Service.SENDER, "reach a queue by its name", publish("", f"{PREFIX}send.bulk.h1")),
        (Service.SENDER, "stop other senders", publish("celery.pidbox", "")),
        (Service.SENDER, "declare a queue", declare("mine")),
        (Service.SENDER, "declare a queue of the topology", declare("send.bulk.h1")),
        (Service.SENDER, "delete a queue of its own work", delete("send.bulk.h1")),
        (Service.SENDER, "delete a rung", delete(TOPOLOGY.rung_queues[0].name.removeprefix(PREFIX))),
        (Service.SENDER, "listen to acceptances", bind(f"answers.{'0' * 32}", "mail.accept")),
        (Service.INGEST, "take mail", consume("send.bulk.h1")),
        (Service.INGEST, "take one mail", get("send.bulk.h1")),
        (Service.INGEST, "empty a queue", purge("send.bulk.h1")),
        (Service.INGEST, "delete a queue", delete("send.bulk.h1")),
        (Service.INGEST, "read the ledger's queues", consume("tracker.events.0")),
        (Service.INGEST, "declare a queue", declare("mine")),
        (Service.INGEST, "defer", publish("mail.defer", "bulk.h1.50ms.1")),
        (Service.INGEST, "reach a queue by its name", publish("", f"{PREFIX}send.bulk.h1")),
        (Service.INGEST, "bind a queue that it looks at", bind("send.bulk.h1", "mail.accept")),
        (Service.INGEST, "give workers commands", publish("celery.pidbox", "")),
        (Service.INGEST, "take a slot", get("slots.google")),
        (Service.TRACKER, "read orders that failed", get("ops.dead")),
        # It writes pauses of tenants there, under the key of shaping and no other.
        (Service.TRACKER, "cancel mail", publish("mail.control.log", "3")),
        (Service.TRACKER, "mark a place in the control log", publish("mail.control.log", MARKER_KEY)),
        (Service.TRACKER, "reserve a day's mails", publish("mail.control.log", WARMUP_KEY)),
        (Service.SENDER, "declare slots", declare("slots.google")),
        (Service.SENDER, "listen to overrides", bind(f"control.{'0' * 32}", "mail.control.log")),
        (Service.INGEST, "delete the queue of orders", delete("ops.tasks")),
        (Service.SENDER, "give orders", publish("ops.tasks", "task")),
        (Service.SENDER, "take orders", consume("ops.tasks")),
        (Service.TRACKER, "give orders", publish("ops.tasks", "task")),
        (Service.FLOWER, "give orders", publish("ops.tasks", "task")),
        (Service.FLOWER, "take orders", consume("ops.tasks")),
        (Service.FLOWER, "accept mail", publish("mail.accept", "bulk.h1")),
        (Service.FLOWER, "take mail", consume("send.bulk.h1")),
        (Service.FLOWER, "cancel mail", publish("mail.control.log", "3")),
        (Service.FLOWER, "declare a queue", declare("mine")),
        (Service.TRACKER, "accept mail", publish("mail.accept", "bulk.h1")),
        (Service.TRACKER, "report outcomes", publish("mail.events", "1")),
        (Service.TRACKER, "reach a queue by its name", publish("", f"{PREFIX}send.bulk.h1")),
        (Service.TRACKER, "take mail", consume("send.bulk.h1")),
        (Service.TRACKER, "delete a queue of its own work", delete("tracker.events.0")),
        (Service.TRACKER, "declare a queue", declare("mine")),
    ],
)
def test_the_broker_refuses_a_service_to(
    place: Place,
    service: Service,
    what: str,
    act: Callable[[Any], object],
) -> None:
    with place.channel(service) as channel, pytest.raises(amqp.AccessRefused, match="ACCESS_REFUSED"):
        act(channel)


@pytest.mark.parametrize(
    ("service", "command"),
    [
        (Service.TRACKER, ["dead", "purge", "--yes"]),
        (Service.INGEST, ["topology", "apply"]),
    ],
)
def test_an_operator_with_a_service_account_is_told_what_to_do(
    place: Place, service: Service, command: list[str]
) -> None:
    env = {**place.system.env, "MAILWARREN_AMQP_URL": place.amqp_url(service)}
    done = subprocess.run([BIN / "mailwarren", *command], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.search("connect as the administrator|the broker refused", done.stderr), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("service", list(Service))
def test_an_account_is_good_in_its_virtual_host_only(place: Place, service: Service) -> None:
    parts = urlsplit(place.amqp_url(service))
    with (
        pytest.raises((amqp.NotAllowed, amqp.AccessRefused)),
        amqp.Connection(
            host=f"{parts.hostname}:{parts.port}",
            userid=parts.username,
            password=parts.password,
            virtual_host="mailwarren",
        ) as connection,
    ):
        connection.channel()


@pytest.mark.parametrize(
    ("service", "sql"),
    [
        (Service.INGEST, "UPDATE deliveries SET state = 'delivered'"),
        (Service.INGEST, "DELETE FROM events"),
        (Service.INGEST, "UPDATE contents SET subject = ''"),
        (Service.INGEST, "SELECT * FROM claims"),
        (Service.INGEST, "DELETE FROM api_keys"),
        (Service.INGEST, "INSERT INTO tenants VALUES (gen_random_uuid(), 'mine', now())"),
        (Service.INGEST, "SELECT make_events_partition(current_date)"),
        (Service.INGEST, "INSERT INTO webhook_deliveries (tenant) VALUES (gen_random_uuid())"),
        (Service.INGEST, "UPDATE webhook_health SET disabled_at = NULL"),
        (Service.INGEST, "UPDATE email_metrics SET sent = 0"),
        (Service.INGEST, "UPDATE breakers SET state = 'fine'"),
        (Service.INGEST, "DELETE FROM email_tags"),
        (Service.INGEST, "UPDATE api_logs SET status = 200"),
        (Service.INGEST, "DELETE FROM erasure_keys"),
        (Service.TRACKER, "SELECT request_body FROM api_logs"),
        (Service.TRACKER, "SELECT address FROM privacy_requests"),
        (Service.TRACKER, "SELECT secret FROM erasure_keys"),
        (Service.TRACKER, "DELETE FROM email_metrics"),
        (Service.TRACKER, "SELECT erase_mail(gen_random_uuid(), '', '', '', 1)"),
        (Service.TRACKER, "SELECT forget_metrics(now(), 1)"),
        (Service.TRACKER, "UPDATE webhooks SET secret = ''"),
        (Service.TRACKER, "SELECT replay_webhook(gen_random_uuid(), gen_random_uuid(), gen_random_uuid())"),
        (Service.TRACKER, "SELECT hash FROM api_keys"),
        (Service.TRACKER, "INSERT INTO api_keys (id) VALUES (gen_random_uuid())"),
        (Service.TRACKER, "SELECT answer FROM idempotency_keys"),
        (Service.TRACKER, "SELECT * FROM tenants"),
        (Service.TRACKER, "SELECT * FROM unsubscribes"),
        (Service.TRACKER, "DELETE FROM suppressions"),
        (Service.TRACKER, "DELETE FROM events"),
        (Service.TRACKER, "DELETE FROM deliveries"),
        (Service.TRACKER, "DROP TABLE events"),
        (Service.TRACKER, "ALTER TABLE events ADD COLUMN x int"),
        (Service.TRACKER, "UPDATE alembic_version SET version_num = ''"),
        *((service, sql)
          for service in (Service.INGEST, Service.TRACKER)
          for sql in ("CREATE TABLE x (y int)", "CREATE TEMP TABLE x (y int)", "TRUNCATE deliveries",
                      "CREATE SCHEMA x", "CREATE ROLE x", "SELECT pg_read_file('PG_VERSION')")),
    ],
)  # fmt: skip
def test_the_database_refuses_a_service(place: Place, service: Service, sql: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(place.database_url(service).replace("+asyncpg", ""))
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        asyncio.run(run())
