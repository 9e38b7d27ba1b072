"""The whole system with the Prometheus that watches it: what tests of dashboards stand on.

What is counted twice between two scrapes has grown once, and what a process counts just before it stands still is seen
by nobody. So whoever provokes something waits for a scrape, or for the count itself, and never for a time alone.
"""

import os
import signal
import time
from pathlib import Path
from typing import Any

import httpx
from kombu import Connection

from mailwarren.devstack.harness.system import System, wait_for
from mailwarren.devstack.postgres import Postgres
from mailwarren.devstack.prometheus import broker_targets, service_targets
from mailwarren.devstack.rabbitmq import VHOST, RabbitMQ

BROKER_JOBS = frozenset({"rabbitmq", "rabbitmq-queues"})


class Stage:
    """The system, its servers, and the Prometheus that watches.

    Attributes:
        receiver: where the tenants' webhooks are.
        links: paths of the tracked mail's pixel and link.
        silent: jobs that do not answer now, because their process was killed or stands still.
    """

    def __init__(self, root: Path, rabbitmq: RabbitMQ, postgres: Postgres) -> None:
        self.rabbitmq, self.postgres = rabbitmq, postgres
        self.system = System(root, amqp_url=rabbitmq.amqp_url, database_url=postgres.database_url)
        self.prometheus: httpx.Client | None = None
        self.receiver = ""
        self.links: list[str] = []
        self.silent: set[str] = set()
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

    def seen(self) -> None:
        """Return when all that answer were scraped anew: what they had counted before is known from here on."""
        jobs = "|".join(sorted(self.silent))
        fresh = f'count((up{{job!~"{jobs}"}} == 1) and (timestamp(up) > {time.time():.3f}))'
        expected = len(self.scrape()) - len(self.silent)
        wait_for(lambda: self.number(fresh) >= expected, 25, "a scrape of all that answer", every=0.2)

    def comes(self, counter: str, times: int = 1) -> None:
        """Return when something was counted so often, and Prometheus knows it."""
        wait_for(lambda: self.number(f"sum({counter})") >= times, 25, counter, every=0.3)

    def shows(self, gauge: str, most: float = 25) -> None:
        """Return when a gauge of any process is above 0."""
        wait_for(lambda: self.number(f"max({gauge})") > 0, most, gauge, every=0.3)

    def throw(self, exchange: str, key: str) -> None:
        """Publishes what nobody can read."""
        with Connection(self.system.amqp_url) as connection, connection.channel() as channel:
            connection.Producer(channel).publish(b"junk", exchange=exchange, routing_key=key, delivery_mode=2)

    def hold(self, *names: str) -> None:
        """Services stand still; what they have counted is scraped before."""
        self.seen()
        for name in names:
            self.system.services[name].signal(signal.SIGSTOP)
        self.silent.update(names)

    def resume(self, *names: str) -> None:
        """They go on; returns when they were scraped, so that what they do then is a step from there."""
        for name in names:
            self.system.services[name].signal(signal.SIGCONT)
        self.silent.difference_update(names)
        self.seen()

    def kill(self, name: str) -> None:
        """A service is gone for good; what it has counted is scraped before."""
        self.seen()
        self.system.services[name].kill()
        self.silent.add(name)

    def hold_broker(self) -> None:
        """RabbitMQ stands still, with every thread."""
        assert self.rabbitmq.pid
        os.kill(self.rabbitmq.pid, signal.SIGSTOP)
        self.silent |= BROKER_JOBS
        threads = Path(f"/proc/{self.rabbitmq.pid}/task")
        wait_for(lambda: all(_stands(one) for one in threads.iterdir()), 10, "every thread standing still")

    def resume_broker(self) -> None:
        assert self.rabbitmq.pid
        os.kill(self.rabbitmq.pid, signal.SIGCONT)
        self.silent -= BROKER_JOBS


def _stands(task: Path) -> bool:
    return (task / "stat").read_text().rpartition(") ")[2].startswith("T")
