"""``make chart-run``: the chart's own pod specs as containers, against a real RabbitMQ and Postgres.

For where there is no cluster. Each pod has its image, user, read-only file system, limits, variables and files, and a
network address of its own; readiness and liveness are asked as its probes say. What a cluster does beside that is not
there: no NetworkPolicies, no autoscaler, no Secret made by setup (its ``--owner-secret`` is left out, and the key is
made by ``mailwarren keys bootstrap``).
"""

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx

from mailwarren.contracts.topology import Topology
from mailwarren.devstack.cluster.chart import Render
from mailwarren.devstack.cluster.manifests import SERVICES, Workload
from mailwarren.devstack.cluster.pod_set import PodSet
from mailwarren.devstack.cluster.podman import Door, Podman
from mailwarren.devstack.cluster.tools import HELM4, find
from mailwarren.devstack.cluster.traffic import Traffic
from mailwarren.devstack.cluster.verify import judge
from mailwarren.devstack.errors import DevstackError
from mailwarren.devstack.harness.sink import SinkWitness
from mailwarren.devstack.leftovers import Scratch, remove_leftovers
from mailwarren.devstack.postgres import Postgres
from mailwarren.devstack.private_server import PrivateServer
from mailwarren.devstack.servers import private_rabbitmq
from mailwarren.devstack.state import LocalDir
from mailwarren.devstack.terminal import say

NETWORK = "mailwarren-chart"
FLEET = "sender-bulk"
MAILS = 2000
SLOW = {"domains": ["*"], "dot_latency_ms": 300}
_FASTER = 0.7
_ENDS_SECONDS = 120.0


class Journey:
    """What is shown, in order.

    Args:
        pods: of the chart, none of them started.
    """

    def __init__(self, pods: PodSet) -> None:
        self._pods = pods
        self._fleet = pods.workload(FLEET)
        self._sink_url = ""
        self._traffic: Traffic | None = None

    def steps(self) -> list[tuple[str, Callable[[], None]]]:
        """A title and what to do."""
        return [
            ("the setup Job ends well", self.setup),
            ("every Deployment gets ready as its probe asks", self.start_all),
            (f"{MAILS} mails, and the ledger balances", self.send),
            (f"{FLEET} from 1 to 3 under load loses nothing", lambda: self.scale(3)),
            ("three pods drain faster than one", self.drain_faster),
            (f"{FLEET} from 3 to 1 under load loses nothing", lambda: self.scale(1)),
            ("liveness probes", self.ask_liveness),
            ("an operator's commands in the toolbox: queues are empty", self.operate),
        ]

    @property
    def traffic(self) -> Traffic:
        """Mails through the API.

        Raises:
            DevstackError: ``start_all`` comes first.
        """
        if self._traffic is None:
            raise DevstackError("nothing is started")
        return self._traffic

    def setup(self) -> None:
        """The Job's own arguments, but for the Secret that only a cluster can keep."""
        self._pods.command(self._pods.job, *setup_words(self._pods.job))

    def start_all(self) -> None:
        """All at once, as a cluster does."""
        for one in self._pods.deployments():
            if not self._pods.names(one):
                self._pods.start(one)
        for name in self._pods.running:
            self._pods.wait_ready(name)
        said = self._pods.command(self._pods.job, "keys", "bootstrap", "--name", "owner")
        token = json.loads(said.strip().splitlines()[-1])["token"]
        api = self._address("-ingest", "http", "/v1")
        self._sink_url = self._address("-sink", "http", "")
        self._traffic = Traffic(lambda: api, token, lambda: self._sink_url)

    def send(self) -> None:
        """All at once."""
        self.traffic.post(MAILS)
        judge(self.traffic.settle(_ENDS_SECONDS))

    def scale(self, replicas: int) -> None:
        """While mails come in."""
        posting = self.traffic.post_beside(MAILS, pause=0.5)
        self._pods.scale(self._fleet, replicas)
        posting.join()
        judge(self.traffic.settle(_ENDS_SECONDS))

    def drain_faster(self) -> None:
        """A receiver that takes its time makes connections count, which pods bring along.

        Raises:
            DevstackError: three pods take more than seven tenths of the time of one.
        """
        witness = SinkWitness(self._sink_url)
        witness.play(SLOW)
        three = self._drained()
        self._pods.scale(self._fleet, 1)
        one = self._drained()
        witness.play()
        witness.close()
        self._pods.scale(self._fleet, 3)
        say(f"      {MAILS} mails to a slow receiver: {one:.0f} s with 1 pod, {three:.0f} s with 3")
        if three > _FASTER * one:
            raise DevstackError("three pods are hardly faster than one")

    def ask_liveness(self) -> None:
        """In every container."""
        for name in self._pods.running:
            self._pods.ask_liveness(name)

    def operate(self) -> None:
        """In a pod as ``kubectl create job --from=cronjob/…-toolbox`` makes it: what services' accounts may not do.

        Raises:
            DevstackError: a command fails, or messages wait in a queue.
        """
        toolbox = self._pods.workload("-toolbox")
        name = self._pods.start(toolbox)
        for words in (("topology", "apply"), ("dead", "list")):
            self._pods.execute(name, "mailwarren", *words)
        lines = self._pods.execute(name, "mailwarren", "queues", "--json").splitlines()
        self._pods.scale(toolbox, 0)
        rows = [json.loads(line) for line in lines if line.startswith("{")]
        topology = Topology()
        left = {row["name"]: row["messages"] for row in rows if row["messages"] and topology.holds_work(row["name"])}
        if left:
            raise DevstackError(f"still in queues: {left}")

    def _drained(self) -> float:
        started = time.monotonic()
        self.send()
        return time.monotonic() - started

    def _address(self, ending: str, port: str, path: str) -> str:
        workload = self._pods.workload(ending)
        ports = {one["name"]: one["containerPort"] for one in workload.containers[0]["ports"]}
        (name,) = self._pods.names(workload)
        return f"http://{self._pods.podman.address(name)}:{ports[port]}{path}"


def chart_values(amqp: str, management: str, database: str, tag: str) -> dict[str, str]:
    """What the chart is given, as JSON: servers of this machine, images of this machine, the sink."""
    given: dict[str, Any] = {
        "image.registry": "localhost",
        "image.tag": tag,
        "image.pullPolicy": "Never",
        "sink.enabled": True,
        "retryScale": 0.01,
        "networkPolicy.enabled": False,  # podman has none, and the ports here are any
        "accounts.seed": "chart-run",
        "rabbitmq.mode": "external",
        "rabbitmq.external.url": amqp,
        "rabbitmq.external.adminUrl": management,
        "postgresql.mode": "external",
        "postgresql.external.url": database,
    }
    return {name: json.dumps(value) for name, value in given.items()}


def at(url: str, host: str) -> str:
    """The same URL with another host."""
    parts = urlsplit(url)
    user, mark, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}{mark}{host}:{parts.port}"))


def setup_words(job: Workload) -> list[str]:
    """Arguments of setup without the Secret that only a cluster can keep."""
    words = list(job.containers[0]["args"])
    if "--owner-secret" in words:
        index = words.index("--owner-secret")
        del words[index : index + 2]
    return words


def main() -> int:
    """0 when every step passed."""
    if os.geteuid() != 0:
        say("chart-run needs root: it makes containers as a cluster does. Try: sudo make chart-run")
        return 1
    local = LocalDir.of_clone()
    local.make()
    try:
        with ExitStack() as stack:
            _steps(local, os.environ.get("TAG") or "images-test", stack)
    except (DevstackError, OSError, httpx.HTTPError) as error:
        say(f"FAIL  {error}")
        return 1
    except KeyboardInterrupt:
        say("Interrupted: containers and servers are gone.")
        return 130
    return 0


def _steps(local: LocalDir, tag: str, stack: ExitStack) -> None:
    podman = Podman(Path(os.environ.get("PODMAN_HOME") or local.path / "podman"), NETWORK)
    missing = [name for name in SERVICES if not podman.has_image(f"localhost/mailwarren-{name}:{tag}")]
    if missing:
        raise DevstackError(f"No images of {', '.join(missing)} with the tag {tag}: make images-test builds them.")
    stack.callback(podman.remove_network)
    gateway = podman.make_network()
    remove_leftovers(local)
    scratch = Scratch(local)
    stack.callback(scratch.remove)
    broker = private_rabbitmq(scratch.home("rabbitmq"))
    database = Postgres(scratch.home("postgres"))
    for server in (broker, database):
        _start(server, scratch, stack.callback)
    urls = (broker.amqp_url, broker.management_url, database.database_url.replace("+asyncpg", ""))
    amqp, management, database_url = (at(url, gateway) for url in urls)
    manifests = Render(find(HELM4), settings=chart_values(amqp, management, database_url, tag)).manifests()
    folder = scratch.home("pods")
    folder.mkdir(parents=True, exist_ok=True)
    run = PodSet(podman, manifests, folder)
    run.start(run.workload("-sink"))  # the network's address exists from the first container on
    for url in urls:
        stack.callback(Door(gateway, urlsplit(url).port or 0).close)
    for title, step in Journey(run).steps():
        started = time.monotonic()
        try:
            step()
        except DevstackError as error:
            raise DevstackError(f"{title}: {error}") from error
        say(f"PASS  {title} ({time.monotonic() - started:.0f} s)")


def _start(server: PrivateServer, scratch: Scratch, at_the_end: Callable[[Callable[[], None]], object]) -> None:
    at_the_end(server.kill)
    server.start()
    for pid in server.pids:
        scratch.record(pid, server.NAME)


if __name__ == "__main__":
    sys.exit(main())
