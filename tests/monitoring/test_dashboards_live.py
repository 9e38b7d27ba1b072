"""Every query of every panel, run against a Prometheus that scrapes the real system while it has its troubles.

One run for all: mail of every lane, servers that defer, refuse, drop, stall and are not there, a full queue, dead
letters, orders for the workers, a sender that dies, a broker and a database that are away for a moment. Afterwards each
query must have found something, and something above nothing unless it is named in :data:`QUIET`.
"""

import contextlib
import json
import math
import os
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from kombu import Connection

from mailwarren.contracts.lanes import Lane
from mailwarren.devstack.harness.system import System, wait_for
from mailwarren.devstack.leftovers import Scratch
from mailwarren.devstack.postgres import Postgres
from mailwarren.devstack.private_server import PrivateServer
from mailwarren.devstack.prometheus import Prometheus, broker_targets, service_targets
from mailwarren.devstack.rabbitmq import VHOST, RabbitMQ

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
RULES = [f"{ROOT}/deploy/grafana/rules/*.yaml", f"{ROOT}/deploy/grafana/alerts/*[^.]????.yaml"]
BOARDS = {
    path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "deploy/grafana/dashboards").glob("*.json"))
}
NEEDS_CLUSTER = {
    line.split("#")[0].strip()
    for line in (Path(__file__).parent / "needs_cluster.txt").read_text().splitlines()
    if line.split("#")[0].strip()
}
QUIET = {
    "lanes / Error budget burn, last hour": "a mail has to take more than 10 s",
    "lanes / Error budget burn, last six hours": "a mail has to take more than 10 s",
    "overview / Overdue deliveries, by lane": "no delivery waits for hours in a test",
    "overview / RabbitMQ's alarms": "an alarm of the broker would stop everything else that is shown here",
    "senders / Exposed": "lasts milliseconds, unless the broker stops at the right moment: not every run meets it",
    "senders / Exposed, by sender": "as above",
    "senders / Parcels split": "a parcel has to come back three times from senders that are gone",
    "queues / Queues missing": "a topology without holes is how it should be",
    "queues / Queues that do not answer": "needs a quorum queue without a leader for 15 s",
    "queues / Alarms": "an alarm of the broker would stop everything else that is shown here",
    "queues / Reports that wait for the broker / given up": "100,000 reports have to wait first",
    "queues / Orders in hand": "an order takes milliseconds: not every run is scraped in one",
    "loadtest / Copies beyond the first": "a sender has to die between a final dot and the broker's confirm",
    "tracker / Batches tried again, or left / left to the broker": "a channel has to break within one batch",
    "tracker / Reported again / events": "a tracker has to die between a commit and its ack",
    "tracker / Answers to senders / not published": "a channel has to break while an answer is published",
    "webhooks / Live webhooks are behind by": "a live webhook is told at once: its events are rarely seen waiting",
    "webhooks / Results written again, or lost / written again": "Postgres has to go while a result is written",
    "webhooks / Results written again, or lost / lost": "Postgres has to be away while the process stops",
    "webhooks / Secrets that cannot be read": "a key has to be missing",
    "webhooks / On their way": "a request takes milliseconds: not every run is scraped in one",
}
"""Queries that are right when they say 0; they must say it all the same."""

EVERYBODYS = {"overview / Alerts", "overview / Alerts that fire or are about to"}
"""An alert whose rule sums over namespaces has none, and is shown to all."""

CHOICES = (
    {},
    {"namespace": "mailwarren", "broker": "mailwarren", "lane": "bulk"},
    {"lane": "(high|bulk)", "provider": "smarthost"},
)
"""What a person chooses, as Grafana writes it into a query; ``.*`` where nothing is said."""

LATER = {"stage": "rcpt", "code": 451, "enhanced": "4.7.1", "text": "greylisted", "first_attempts": 1}
NEVER = {"stage": "rcpt", "code": 451, "enhanced": "4.3.0", "text": "not now"}
NOBODY = {"stage": "rcpt", "code": 550, "enhanced": "5.1.1", "text": "no such user"}
STRANGE = {"stage": "dot", "code": 569, "text": "we do not say"}
PERSONAS: tuple[dict[str, Any], ...] = (
    {"domains": ["later.test"], "rules": [LATER]},
    {"domains": ["never.test"], "rules": [NEVER]},
    {"domains": ["nobody.test"], "rules": [NOBODY]},
    {"domains": ["strange.test"], "rules": [STRANGE]},
    {"domains": ["dropped.test"], "drop_mid_data": 0.5},
    {"domains": ["slow.test"], "dot_latency_ms": 2500},
)
IMPATIENT = {
    "MAILWARREN_PREFETCH": "5",
    "MAILWARREN_CONNECTIONS": "10",
    "MAILWARREN_SETTLE_TIMEOUT": "1",
    "MAILWARREN_SETTLE_PATIENCE": "1",
    "MAILWARREN_SETTLE_PATIENCE_HIGH": "1",
}
BUSY = {"MAILWARREN_HEARTBEAT_EVERY": "1", "MAILWARREN_RETENTION_EVERY": "1"}
"""Work that nobody waits for, all the time."""
SMALL = {"MAILWARREN_MAX_DEPTH": "20", "MAILWARREN_DEPTH_INTERVAL": "0.3"}
"""Queues are full with little in them, and whoever publishes sees it at once."""
NOWHERE = "smtp://127.0.0.1:1"
SIGNED: dict[str, Any] = {"from": "Ada <ada@signed.test>"}


class Stage:
    """The system, its servers, and the Prometheus that watches."""

    def __init__(self, root: Path, rabbitmq: RabbitMQ, postgres: Postgres) -> None:
        self.rabbitmq, self.postgres = rabbitmq, postgres
        self.system = System(root, amqp_url=rabbitmq.amqp_url, database_url=postgres.database_url)
        self.prometheus: httpx.Client | None = None
        self.receiver = ""
        self.began = self.ended = time.time()

    @property
    def api(self) -> httpx.Client:
        assert self.system.api
        return self.system.api

    def scrape(self) -> list[dict[str, Any]]:
        """Jobs for all that runs, with the labels that a cluster's discovery adds."""
        assert self.system.sink
        services = {name: self.system.metrics_url(name) for name in self.system.services if name != "sink"}
        services["sink"] = f"{self.system.sink.url}/metrics"
        jobs = broker_targets(f"127.0.0.1:{self.rabbitmq.broker.prometheus}", VHOST) + service_targets(services)
        for job in jobs:
            labels = {"namespace": "mailwarren", "pod": job["job_name"], "service": "some", "endpoint": "metrics"}
            job["honor_labels"] = True  # a pod monitor's labels would hide ours of the same name
            job["static_configs"] = [{**one, "labels": labels} for one in job["static_configs"]]
        return jobs

    def ask(self, path: str, **parameters: str) -> Any:
        """``data`` of an answer of Prometheus."""
        assert self.prometheus
        answer = self.prometheus.get(f"/api/v1{path}", params=parameters).json()
        assert answer["status"] == "success", f"{answer} {parameters}"
        return answer["data"]

    def number(self, query: str) -> float:
        found = self.ask("/query", query=query)["result"]
        return float(found[0]["value"][1]) if found else 0.0

    def all_scraped(self) -> bool:
        return self.number("sum(up)") == len(self.scrape())

    def throw(self, exchange: str, key: str) -> None:
        """Publishes what nobody can read."""
        with Connection(self.system.amqp_url) as connection, connection.channel() as channel:
            connection.Producer(channel).publish(b"junk", exchange=exchange, routing_key=key, delivery_mode=2)

    def send_signal(self, number: signal.Signals, *names: str) -> None:
        for name in names:
            self.system.services[name].signal(number)


@pytest.fixture(scope="module")
def stage(devstack_scratch: Scratch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """All of it, after everything has happened."""
    with contextlib.ExitStack() as stack:

        def start(server: PrivateServer) -> None:
            stack.callback(server.remove)
            server.start(wait=False)
            for pid in server.pids:
                devstack_scratch.record(pid, server.NAME)

        rabbitmq = RabbitMQ(devstack_scratch.home("dashboards-rabbitmq"))
        postgres = Postgres(devstack_scratch.home("dashboards-postgres"), durable=False)
        servers: list[PrivateServer] = [rabbitmq, postgres]
        for server in servers:
            start(server)
        for server in servers:
            server.wait_ready(lambda one=server: one.pid is not None)  # type: ignore[misc]
        made = Stage(tmp_path_factory.mktemp("dashboards"), rabbitmq, postgres)
        stack.callback(made.system.close)
        receiver = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Receiver))
        stack.callback(receiver.shutdown)
        Thread(target=receiver.serve_forever, daemon=True).start()
        made.receiver = f"http://127.0.0.1:{receiver.server_port}"
        made.system.prepare()
        start_services(made.system)
        prometheus = Prometheus(
            devstack_scratch.home("dashboards-prometheus"), scrape=made.scrape(), rules=RULES, interval=1
        )
        start(prometheus)
        prometheus.wait_ready(lambda: prometheus.pid is not None)
        made.prometheus = stack.enter_context(httpx.Client(base_url=prometheus.url, timeout=30))
        made.system.wait_ready()
        wait_for(made.all_scraped, 20, "the first scrape of everything", every=0.2)
        try:
            play(made)
        except Exception:
            print(made.system.logs())
            raise
        made.ended = time.time()
        yield made


def start_services(system: System) -> None:
    """Everything at once, with small marks and little patience."""
    system.start_sink().play(*PERSONAS)
    system.start_ingest(wait=False, **SMALL)
    system.start_tracker(wait=False, env={"MAILWARREN_TRACKER_PREFETCH": "2"})
    for name in ("sender0", "sender1"):
        system.start_sender(name, env=IMPATIENT, wait=False)
    # A fleet of its own, whose relay is not there.
    system.start_sender("lost", [Lane.BULK], env=IMPATIENT | {"MAILWARREN_SMTP_URL": NOWHERE}, wait=False)
    system.start_worker(wait=False, env=SMALL)
    system.start_scheduler(wait=False, env=BUSY | SMALL)
    system.start_webhooks(wait=False)


def play(stage: Stage) -> None:
    """Has everything happen that the panels show; what is counted happens more than once, or it has no rate."""
    system = stage.system
    # Higher than anything that is sent here: it is in force, and nobody feels it.
    limit = {"scope": "site", "name": "smarthost", "rate": 100_000, "for": "1h"}
    stage.api.post("/shaping", json=limit).raise_for_status()
    stage.api.post("/domains", json={"name": "signed.test"}).raise_for_status()
    send_a_round(stage, 1)
    import_people(stage)
    comes(stage, "mailwarren_ops_import_rows_total")  # two imports between two scrapes would have no rate
    fill_a_queue(stage)
    send_a_round(stage, 2)
    system.send_bulk([f"slow{n}@slow.test" for n in range(60)], lane=Lane.NORMAL)
    time.sleep(1.5)
    system.services["sender1"].kill()
    send_a_round(stage, 3)
    lose_the_database(stage)
    hold_the_broker(stage)
    send_a_round(stage, 4)
    wait_for(lambda: stage.number("sum(mailwarren_tracker_deliveries_open)") > 0, 35, "the tracker's look", every=0.5)
    system.services["sender0"].kill()
    alone = 'count(rabbitmq_detailed_queue_consumers{queue=~"send[.].*"} == 0)'
    wait_for(lambda: stage.number(alone) > 0, 20, "queues without a consumer", every=0.5)
    time.sleep(1.5)


def fill_a_queue(stage: Stage) -> None:
    """Mail for one shard while the senders stand still, until the API says 503; twice.

    The worker stands still as well, so that an import and a broadcast wait for it; then the broadcast waits for room.
    """
    stage.send_signal(signal.SIGSTOP, "sender0", "sender1", "worker")
    write_to_lists(stage)
    lose_keys(stage)
    for number in range(2):
        wait_for(lambda: stage.system.send("x@full.test").status_code == 503, 20, "a full queue", every=0)
        # One has its time while its queue is full, the other is released.
        stage.system.send(f"later{number}@full.test", scheduled_at="in 1 second").raise_for_status()
        stage.system.send(f"later{number}@d1.test", scheduled_at="in 1 second").raise_for_status()
        time.sleep(3)  # RabbitMQ counts its quorum queues every five seconds
    waiting = ('imports{state="queued"}', 'broadcasts{state="queued"}', "scheduled_late_seconds")
    for metric in waiting:
        wait_for(lambda one=metric: stage.number(f"max(mailwarren_ops_{one})") > 0, 20, metric, every=0.5)  # type: ignore[misc]
    stage.send_signal(signal.SIGCONT, "worker")
    comes(stage, "mailwarren_ops_broadcast_waits_total")
    send_broadcast(stage)
    comes(stage, "mailwarren_ops_broadcast_waits_total", 2)
    stage.send_signal(signal.SIGCONT, "sender0", "sender1")
    comes(stage, "mailwarren_ops_broadcast_recipients_total")


def lose_keys(stage: Stage) -> None:
    """Mail of a domain that is deleted before a sender asks for its keys."""
    made = stage.api.post("/domains", json={"name": "gone.test"}).raise_for_status().json()["id"]
    stage.system.send_bulk(["nokeys@d1.test"], **SIGNED | {"from": "ada@gone.test"})
    stage.api.delete(f"/domains/{made}").raise_for_status()


def comes(stage: Stage, counter: str, times: int = 1) -> None:
    """Return when something was counted so often."""
    wait_for(lambda: stage.number(f"sum({counter})") >= times, 25, counter, every=0.5)


def write_to_lists(stage: Stage) -> None:
    """An import, a broadcast, and mail for another month."""
    import_people(stage)
    send_broadcast(stage)
    stage.system.send("month@d1.test", scheduled_at="in 30 days").raise_for_status()


def import_people(stage: Stage) -> None:
    """With a row that fails, and an address that comes twice."""
    file = b"email\nada@lists.test\nADA@lists.test\nnobody\n"
    call = {"content": file, "headers": {"Content-Type": "text/csv"}}
    stage.api.post("/contacts/imports", **call).raise_for_status()


def send_broadcast(stage: Stage) -> None:
    """To a shard that will be full."""

    def post(path: str, **body: Any) -> Any:
        return stage.api.post(path, json=body).raise_for_status().json()["id"]

    segment = post("/segments", name="Readers")
    post("/contacts", email="reader@full.test", segments=[{"id": segment}])
    mail = {"from": "a@sender.test", "subject": "x", "text": "y", "priority": "normal"}
    post("/broadcasts", segment_id=segment, send=True, **mail)


class Receiver(BaseHTTPRequestHandler):
    """A tenant's server: what it answers stands in the path."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(int(self.path.strip("/")))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def add_webhooks(stage: Stage, *statuses: int) -> None:
    """One for each answer; 0 is nobody there."""
    types = ["email.sent", "email.delivered", "email.bounced"]
    for status in statuses:
        endpoint = f"{stage.receiver}/{status}" if status else "http://127.0.0.1:1/"
        body = {"endpoint": endpoint, "events": types}
        stage.api.post("/webhooks", json=body).raise_for_status()
    time.sleep(2)  # the tracker hears of them within a second, and Prometheus sees what has not happened yet


def send_a_round(stage: Stage, number: int) -> None:
    """Mail of all kinds, to servers of all kinds, and calls of all kinds."""
    system = stage.system
    add_webhooks(stage, *((200, 0, 410) if number == 1 else (410,)))
    for lane in Lane:
        fine = [f"r{number}n{n}@d{n}.test" for n in range(12)]
        refused = [f"{lane}{number}@{domain}.test" for domain in ("later", "nobody", "strange")]
        system.send_bulk([*fine, *refused, *(f"{lane}{number}{n}@dropped.test" for n in range(4))], lane=lane)
    system.send_bulk([f"signed{number}{n}@d{n}.test" for n in range(5)], **SIGNED)
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
    system.send_bulk([f"late{number}@never.test"], lane=Lane.HIGH, expires_at=soon)
    system.send_bulk([f"wait{number}{n}@never.test" for n in range(5)], lane=Lane.BULK)
    system.send(f"bulk{number - 1}@nobody.test")  # bounced in the round before: suppressed now
    for _ in range(2):
        stage.api.post("/emails/bulk", json={"from": "nobody"})
        body = {"from": "a@sender.test", "to": f"k{number}@d1.test", "subject": "x", "text": "y"}
        stage.api.post("/emails", json=body, headers={"Idempotency-Key": f"round {number}"})
    stage.throw("", "send.bulk.h0")
    stage.throw("", "tracker.events.3")
    stage.throw("mail.send", "no.such.key")
    stage.throw("", "ops.tasks")
    system.query("UPDATE idempotency_keys SET created_at = now() - interval '2 days'")
    time.sleep(1.5)


def lose_the_database(stage: Stage) -> None:
    """Postgres is away: mail flows on, batches are tried again, results wait, and patience ends."""
    stage.system.send_bulk([f"away{n}@later.test" for n in range(5)], lane=Lane.HIGH)
    stage.postgres.stop()
    for number in range(5):
        stage.system.send_bulk([f"more{number}{n}@later.test" for n in range(5)], lane=Lane.HIGH)
        stage.system.send(f"unchecked{number}@d2.test")
        time.sleep(1.3)
    stage.postgres.start()


def _stands(task: Path) -> bool:
    return (task / "stat").read_text().rpartition(") ")[2].startswith("T")


def hold_the_broker(stage: Stage) -> None:
    """RabbitMQ stands still with mail under way: outcomes wait for their confirms, and so does the API."""
    slow = [f"held{n}@slow.test" for n in range(10)]
    stage.system.send_bulk([f"held{n}@d{n}.test" for n in range(100)] + slow)
    stage.system.send_bulk(slow, lane=Lane.HIGH)
    sink = stage.system.sink
    assert sink
    wait_for(lambda: sink.stats()["pending"] >= 5, 15, "slow mail under way")
    assert stage.rabbitmq.pid
    os.kill(stage.rabbitmq.pid, signal.SIGSTOP)
    try:
        threads = Path(f"/proc/{stage.rabbitmq.pid}/task")
        wait_for(lambda: all(_stands(one) for one in threads.iterdir()), 10, "every thread standing still")
        with ThreadPoolExecutor() as pool:  # two, and apart: the first one of a kind makes no rate
            answers = [pool.submit(stage.system.send, "unconfirmed@d1.test")]
            time.sleep(1.5)
            answers.append(pool.submit(stage.system.send, "unconfirmed@d2.test"))
        assert [answer.result().status_code for answer in answers] == [503, 503]
    finally:
        os.kill(stage.rabbitmq.pid, signal.SIGCONT)


def panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in board["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


def places() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every query with the names it may be listed by: of its panel, and of its panel and legend."""
    for name, board in BOARDS.items():
        for panel in panels(board):
            place = f"{name} / {panel['title']}"
            for target in panel["targets"]:
                yield place, f"{place} / {target['legendFormat']}", target


def chosen(expr: str, choice: dict[str, str], span: int) -> str:
    text = expr.replace("$__rate_interval", "5s").replace("$__range", f"{span}s")
    return re.sub(r"\$([a-z]\w*)", lambda found: choice.get(found[1], ".*"), text)


def values(stage: Stage, target: dict[str, Any], choice: dict[str, str]) -> list[float]:
    """Every number that the panel would draw over the whole run; without those that are not numbers."""
    expr = chosen(target["expr"], choice, round(stage.ended - stage.began))
    if "$__range" in target["expr"]:
        answer = stage.ask("/query", query=expr, time=str(stage.ended))
        series = [[sample["value"]] for sample in answer["result"]]
    else:
        answer = stage.ask("/query_range", query=expr, start=str(stage.began), end=str(stage.ended), step="1")
        series = [one["values"] for one in answer["result"]]
    return [number for one in series for _, text in one if math.isfinite(number := float(text))]


def test_every_query_finds_what_was_provoked(stage: Stage) -> None:
    wrong = []
    for place, detail, target in places():
        if place in NEEDS_CLUSTER:
            continue
        found = values(stage, target, {})
        if not found:
            wrong.append(f"nothing: {detail}: {target['expr']}")
        elif not any(found) and place not in QUIET and detail not in QUIET:
            wrong.append(f"only 0: {detail}: {target['expr']}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("choice", CHOICES[1:], ids=str)
def test_a_choice_of_variables_narrows_and_does_not_break(stage: Stage, choice: dict[str, str]) -> None:
    empty = [
        detail for place, detail, target in places() if place not in NEEDS_CLUSTER and not values(stage, target, choice)
    ]
    assert not empty, "\n".join(empty)


def test_another_namespace_shows_nothing(stage: Stage) -> None:
    """A query without its variable would show a neighbour's mail."""
    elsewhere = {"namespace": "elsewhere", "broker": "elsewhere"}
    found = [
        detail
        for place, detail, target in places()
        if place not in EVERYBODYS and any(values(stage, target, elsewhere))
    ]
    assert found == []


def test_the_choices_themselves_have_values(stage: Stage) -> None:
    asked = {
        one["query"]["query"]
        for board in BOARDS.values()
        for one in board["templating"]["list"]
        if one["type"] == "query"
    }
    assert len(asked) == 4
    for query in asked:
        metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", query).groups()  # type: ignore[union-attr]
        assert stage.ask(f"/label/{label}/values", **{"match[]": metric})


def test_what_is_said_to_need_a_cluster_does(stage: Stage) -> None:
    known = {place for place, _, _ in places()}
    assert known >= NEEDS_CLUSTER
    details = {detail for _, detail, _ in places()}
    assert set(QUIET) <= known | details
    found = [detail for place, detail, target in places() if place in NEEDS_CLUSTER and values(stage, target, {})]
    assert found == [], "finds data without a cluster: no longer to be listed in needs_cluster.txt"
