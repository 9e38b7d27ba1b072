"""The system under test: real processes on free ports against a given broker and database."""

import asyncio
import base64
import contextlib
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from kombu import Connection

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.topology import Topology, send_queue_names
from mailwarren.devstack.databases import run_apart
from mailwarren.devstack.harness.counts import Disagreement, Promise, compare
from mailwarren.devstack.harness.service import Service
from mailwarren.devstack.harness.sink import SinkWitness
from mailwarren.devstack.loopback import no_tls
from mailwarren.devstack.ports import free_ports

BIN = Path(sys.executable).parent
SENDER = "mailwarren.sender.main:app"
_PATIENCE = 20.0


class System:
    """Starts, kills and asks the services of one Mailwarren.

    Args:
        root: a folder for logs and files of this system.
        retry_scale: 0.01 makes five minutes three seconds.
    """

    def __init__(
        self, root: Path, *, amqp_url: str, database_url: str, prefix: str = "", retry_scale: float = 0.01
    ) -> None:
        self.root = root
        self.amqp_url = amqp_url
        self.database_url = database_url
        self.prefix = prefix
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MAILWARREN_")},
            "MAILWARREN_AMQP_URL": amqp_url,
            "MAILWARREN_AMQP_PREFIX": prefix,
            "MAILWARREN_DATABASE_URL": database_url,
            "MAILWARREN_RETRY_SCALE": str(retry_scale),
            "MAILWARREN_METRICS_HOST": "127.0.0.1",
            "MAILWARREN_METRICS_PORT": "0",
            "PYTHONUNBUFFERED": "1",
        }
        (self._internal,) = free_ports(1)
        root.mkdir(parents=True, exist_ok=True)
        keys = root / "data-keys"
        keys.write_bytes(base64.urlsafe_b64encode(secrets.token_bytes(32)))
        self._secrets = {"MAILWARREN_DATA_KEYS": str(keys), "MAILWARREN_PRIVATE_WEBHOOKS": "true"}
        self._blobs = {
            "MAILWARREN_INTERNAL_TOKEN": "token-of-the-system-under-test",
            "MAILWARREN_BLOB_URL": (root / "blobs").as_uri(),
        }
        self.own_env: dict[str, dict[str, str]] = {}
        """By the kind of service (``ingest``, ``sender``, ``tracker``, ``flower``) what only it gets: an account."""
        self.services: dict[str, Service] = {}
        self._ready: dict[str, str] = {}
        # A service that was killed leaves no connection to be used again.
        self._http = httpx.Client(timeout=10, verify=no_tls(), limits=httpx.Limits(max_keepalive_connections=0))
        self.smtp_url = ""
        self.sink: SinkWitness | None = None
        self.api: httpx.Client | None = None

    # Starting

    def prepare(self) -> None:
        """Topology, schema and the first API key. In this process: each command would start for two seconds."""
        from mailwarren.ingest.commands import broker, database  # only for who makes a system

        with ThreadPoolExecutor(1) as aside:
            declared = aside.submit(broker.apply_topology, self.amqp_url, self._topology, _PATIENCE)
            run_apart(database.migrate(self.database_url, _PATIENCE))
            self.token = run_apart(database.bootstrap(self.database_url, "test", None, None, _PATIENCE))["token"]
            declared.result()

    def command(self, name: str, *arguments: str) -> str:
        """Run one of our commands to its end; returns its standard output."""
        done = subprocess.run(
            [str(BIN / name), *arguments], env=self.env, capture_output=True, text=True, timeout=120, check=False
        )
        if done.returncode:
            call = " ".join((name, *arguments))
            raise RuntimeError(f"{call} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def start_sink(self, *arguments: str) -> SinkWitness:
        """A sink on free ports."""
        ready = self.root / "sink.json"
        ready.unlink(missing_ok=True)
        listen = ("--smtp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--ready-file", str(ready))
        self._start("sink", [str(BIN / "mailwarren-sink"), *listen, *arguments])
        check = self.services["sink"].check
        wait_for(lambda: ready.exists() and ready.read_text().strip() != "", 20, "the sink", check)
        places = json.loads(ready.read_text())
        self.smtp_url = f"smtp://{places['smtp']}"
        self.sink = SinkWitness(places["http"])
        return self.sink

    def start_ingest(self, *, wait: bool = True, name: str = "ingest", **env: str) -> httpx.Client:
        """The API; returns a client with the first key."""
        (port,) = free_ports(1)
        # One place for the senders to ask; a second API at the same time leaves it to the first.
        internal = self._internal if name == "ingest" else 0
        settings = {
            "MAILWARREN_API_HOST": "127.0.0.1",
            "MAILWARREN_API_PORT": str(port),
            "MAILWARREN_INTERNAL_HOST": "127.0.0.1",
            "MAILWARREN_INTERNAL_PORT": str(internal),
            **self._blobs,
            **self._secrets,
        }
        self._start(name, [str(BIN / "ingest"), "api"], {**settings, **self._own("ingest"), **env})
        login = {"Authorization": f"Bearer {self.token}"}
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}/v1", headers=login, timeout=60, verify=no_tls())
        self._expect(name, port, wait=wait)
        self.api = client  # a second API takes the calls over once it is ready
        return client

    def start_tracker(self, name: str = "tracker", *, wait: bool = True, env: dict[str, str] | None = None) -> Service:
        """A tracker."""
        (port,) = free_ports(1)
        own = {"MAILWARREN_METRICS_PORT": str(port)}
        service = self._start(name, [str(BIN / "tracker"), "consume"], {**own, **self._own("tracker"), **(env or {})})
        self._expect(name, port, wait=wait)
        return service

    def start_webhooks(
        self, name: str = "webhooks", *, wait: bool = True, env: dict[str, str] | None = None
    ) -> Service:
        """What tells webhooks of what happened."""
        (port,) = free_ports(1)
        own = {"MAILWARREN_METRICS_PORT": str(port), **self._secrets, **self._own("tracker")}
        service = self._start(name, [str(BIN / "tracker"), "webhooks"], {**own, **(env or {})})
        self._expect(name, port, wait=wait)
        return service

    def start_worker(self, name: str = "worker", *, wait: bool = True, env: dict[str, str] | None = None) -> Service:
        """A worker for ``ops.tasks``, which Flower shows under ``name``."""
        return self._start_ingest_command(name, "worker", {"MAILWARREN_WORKER_NAME": name, **(env or {})}, wait=wait)

    def start_scheduler(
        self, name: str = "scheduler", *, wait: bool = True, env: dict[str, str] | None = None
    ) -> Service:
        """A scheduler."""
        return self._start_ingest_command(name, "scheduler", env or {}, wait=wait)

    def _start_ingest_command(self, name: str, command: str, env: dict[str, str], *, wait: bool) -> Service:
        (port,) = free_ports(1)
        own = {"MAILWARREN_METRICS_PORT": str(port), **self._blobs, **self._own("ingest")}
        service = self._start(name, [str(BIN / "ingest"), command], {**own, **env})
        self._expect(name, port, wait=wait)
        return service

    def start_flower(self, login: str, *, env: dict[str, str] | None = None) -> httpx.Client:
        """Flower over all workers; returns a client that knows the login, ``user:password``."""
        http, port = free_ports(2)
        place = {"MAILWARREN_FLOWER_HOST": "127.0.0.1", "MAILWARREN_FLOWER_PORT": str(http)}
        own = {"MAILWARREN_METRICS_PORT": str(port), "MAILWARREN_FLOWER_AUTH": login, **place, **self._own("flower")}
        self._start("flower", [str(BIN / "mailwarren-flower")], {**own, **(env or {})})
        self._expect("flower", port, wait=True)
        user, _, password = login.partition(":")
        return httpx.Client(base_url=f"http://127.0.0.1:{http}", auth=(user, password), timeout=30, verify=no_tls())

    def start_sender(
        self,
        name: str = "sender",
        lanes: Iterable[Lane] = tuple(Lane),
        *,
        shards: Iterable[str] | None = None,
        app: str = SENDER,
        wait: bool = True,
        env: dict[str, str] | None = None,
    ) -> Service:
        """A sender for some lanes and shards, all unless given."""
        (port,) = free_ports(1)
        chosen = None if shards is None else list(shards)
        queues = ",".join(send_queue_names(list(lanes), chosen, prefix=self.prefix))
        argv = [str(BIN / "celery"), "--quiet", "-A", app, "worker", "-P", "solo", "-c", "1", "-Q", queues]
        flags = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-n", f"{self.prefix}{name}@%h"]
        own = {
            "MAILWARREN_SMTP_URL": self.smtp_url,
            "MAILWARREN_METRICS_PORT": str(port),
            "MAILWARREN_INTERNAL_URL": f"http://127.0.0.1:{self._internal}",
            "MAILWARREN_INTERNAL_TOKEN": self._blobs["MAILWARREN_INTERNAL_TOKEN"],
        }
        service = self._start(name, [*argv, *flags], {**own, **self._own("sender"), **(env or {})})
        self._expect(name, port, wait=wait)
        return service

    def start_all(self, senders: int = 1, sender_env: dict[str, str] | None = None) -> None:
        """Everything side by side; returns when all is ready."""
        self.start_sink()
        self.start_ingest(wait=False)
        self.start_tracker(wait=False)
        for number in range(senders):
            self.start_sender(f"sender{number}", env=sender_env, wait=False)
        self.wait_ready()

    def wait_ready(self, timeout: float = 45.0, *, names: Sequence[str] | None = None) -> None:
        """Return when every living service is ready, or every one of ``names``."""
        for name, url in self._ready.items():
            service = self.services[name]
            if service.alive and (names is None or name in names):
                wait_for(lambda at=url: self._ok(at), timeout, name, service.check)  # type: ignore[misc]

    def forget_service(self, name: str) -> None:
        """Leave out a service that has ended, so that nothing asks for it any more."""
        if self.services[name].alive:
            raise RuntimeError(f"{name} has not ended")
        del self.services[name]
        self._ready.pop(name, None)

    def _ok(self, url: str) -> bool:
        try:
            return self._http.get(url, timeout=2).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def _own(self, kind: str) -> dict[str, str]:
        return self.own_env.get(kind, {})

    def _expect(self, name: str, port: int, *, wait: bool) -> None:
        self._ready[name] = url = f"http://127.0.0.1:{port}/readyz"
        if wait:
            wait_for(lambda: self._ok(url), 45, name, self.services[name].check)

    def _start(self, name: str, argv: Sequence[str], env: dict[str, str] | None = None) -> Service:
        service = Service(name, argv, {**self.env, **(env or {})}, self.root / f"{name}.log")
        self.services[name] = service
        return service

    def close(self) -> None:
        """End every process."""
        for service in reversed(list(self.services.values())):
            if service.alive:
                service.kill()
        if self.sink is not None:
            self.sink.close()
        if self.api is not None:
            self.api.close()
        self._http.close()

    # Sending

    def send_bulk(
        self, addresses: Sequence[str], *, lane: Lane = Lane.BULK, headers: dict[str, str] | None = None, **fields: Any
    ) -> list[Promise]:
        """One bulk call; returns what the API said yes to."""
        body = {
            "from": "Ada <ada@sender.test>",
            "subject": "Hello {{ name }}",
            "text": "Hello {{ name }}, this is yours alone.",
            "priority": lane.value,
            "recipients": [{"to": address, "variables": {"name": address.split("@")[0]}} for address in addresses],
        }
        answer = self._client.post("/emails/bulk", json=body | fields, headers=headers).raise_for_status()
        return [self.promise(row["id"], row["to"]) for row in answer.json()["data"]]

    def send(self, to: str, **fields: Any) -> httpx.Response:
        """One single mail; the raw answer."""
        body = {"from": "Ada <ada@sender.test>", "to": to, "subject": "Hello", "text": "Hello, you."}
        return self._client.post("/emails", json=body | fields)

    @staticmethod
    def promise(email_id: str, to: str, sender_domain: str = "sender.test") -> Promise:
        """What a yes promises: the Message-ID follows from the id."""
        return Promise(email_id, to, f"{email_id}@{sender_domain}")

    @property
    def _topology(self) -> Topology:
        return Topology(self.prefix, float(self.env["MAILWARREN_RETRY_SCALE"]))

    @property
    def _client(self) -> httpx.Client:
        if self.api is None:
            raise RuntimeError("start_ingest() comes first")
        return self.api

    # Asking

    def query(self, sql: str, *arguments: Any) -> list[Any]:
        """Rows of the database."""

        async def run() -> list[Any]:
            connection = await asyncpg.connect(self.database_url.replace("+asyncpg", ""))
            try:
                found: list[Any] = await connection.fetch(sql, *arguments)
                return found
            finally:
                await connection.close()

        return asyncio.run(run())

    def states(self, promises: Iterable[Promise] | None = None) -> dict[tuple[str, str], str]:
        """State by (email id, address): of all deliveries, or of those promised."""
        rows = self.query("select email_id::text as email, address, state from deliveries")
        states = {(row["email"], row["address"]): row["state"] for row in rows}
        if promises is None:
            return states
        wanted = {(promise.email_id, promise.address) for promise in promises}
        return {key: state for key, state in states.items() if key in wanted}

    def ledger(self, promises: list[Promise]) -> Disagreement:
        """Compare promises, rows and sink as they are now."""
        if self.sink is None:
            raise RuntimeError("start_sink() comes first")
        return compare(promises, self.states(), self.sink.pairs())

    def settle(self, promises: list[Promise], timeout: float = 60.0) -> Disagreement:
        """Wait until every promised delivery has an end; the comparison after that (or after ``timeout``)."""
        end = time.monotonic() + timeout
        while True:
            with contextlib.suppress(OSError, asyncpg.PostgresError):
                found = self.ledger(promises)
                if not (found.missing_rows or found.without_end) or time.monotonic() > end:
                    return found
            if time.monotonic() > end + 10:
                raise TimeoutError("the ledger could not be read")
            time.sleep(0.5)

    def left_in_broker(self, timeout: float = 20.0) -> dict[str, int]:
        """The fourth count: messages in our queues after all senders have ended in order; empty is as it should be.

        Slots are no mail: their queues are full when nobody sends.

        A sender that ends gives back what it holds, so nothing hides behind a consumer. The tracker has to run.

        Raises:
            ServiceDied: a sender did not end by itself.
        """
        from mailwarren.ingest.commands import broker

        kinds = ("sender", "heir", "later")
        alive = [one for name, one in self.services.items() if name.startswith(kinds) and one.alive]
        end = time.monotonic() + timeout
        # What a sender put on the ladder in case that it dies of a mail: a sender has to look at it, and drops it.
        while alive and self.on_ladder() and time.monotonic() < end:
            time.sleep(0.1)
        for service in alive:
            service.stop()
        end = time.monotonic() + timeout
        while True:
            listed = broker.queue_depths(self.amqp_url, self._topology, _PATIENCE)
            work = [row for row in listed if row["messages"] and self._topology.holds_work(row["name"])]
            left = {row["name"]: int(row["messages"]) for row in work}
            if not left or time.monotonic() > end:
                return left
            time.sleep(0.3)

    def on_ladder(self) -> int:
        """Parcels on all rungs."""
        with Connection(self.amqp_url) as connection:
            channel = connection.default_channel
            rungs = [channel.queue_declare(queue=queue.name, passive=True) for queue in self._topology.rung_queues]
        return sum(rung.message_count for rung in rungs)

    def metrics_url(self, name: str) -> str:
        """Where a service shows its metrics."""
        return self._ready[name].replace("/readyz", "/metrics")

    def metrics(self, name: str) -> str:
        """What a service shows of its metrics now."""
        return self._http.get(self.metrics_url(name)).raise_for_status().text

    def logs(self) -> str:
        """The ends of all logs, for a failing test."""
        return "\n".join(f"--- {name}\n{service.tail()}" for name, service in self.services.items())


def wait_for(
    condition: Callable[[], bool],
    timeout: float,
    what: str,
    check: Callable[[], None] | None = None,
    every: float = 0.05,
) -> None:
    """Poll until ``condition()``; TimeoutError names ``what`` after ``timeout`` seconds."""
    end = time.monotonic() + timeout
    while not condition():
        if check is not None:
            check()
        if time.monotonic() > end:
            raise TimeoutError(f"{what} took longer than {timeout} s")
        time.sleep(every)
