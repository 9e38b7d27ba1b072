"""Every query of every panel, run against a Prometheus that scrapes the real system while it has its troubles.

One run for all (``provoking.py``): mail of every lane, through a relay and to mail hosts, servers that defer, refuse,
drop, stall and are not there, a full queue, dead letters, orders for the workers, readers, a sender that dies, a broker
and a database that are away for a moment. Afterwards each query must have found something, and something above nothing
unless it is named in :data:`QUIET`.
"""

import contextlib
import json
import math
import re
import time
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import direct_fleet
import httpx
import pytest
from provoking import Receiver, play, start_services
from watched import Stage

from mailwarren.devstack.harness.system import wait_for
from mailwarren.devstack.leftovers import Scratch
from mailwarren.devstack.postgres import Postgres
from mailwarren.devstack.private_server import PrivateServer
from mailwarren.devstack.prometheus import Prometheus
from mailwarren.devstack.rabbitmq import RabbitMQ

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
    "api / Calls that are kept / not kept": "200 calls a second have to come first",
    "feedback / Hits that wait for the broker / given up": "50,000 hits have to wait first",
    "senders / Sending domains, by state / broken": "a domain has to lose a record that it had",
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
        start_services(made.system, stack.enter_context(direct_fleet.name_server()))
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
