"""Whatever is missing at a start: the services stay alive, say why they are not ready, and go on when it comes."""

import asyncio
import json
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
import httpx
import pytest

from mailwarren.devstack.databases import drop_database, run_apart, with_database
from mailwarren.devstack.harness.system import System, wait_for
from mailwarren.devstack.loopback import no_tls
from mailwarren.devstack.ports import free_ports
from mailwarren.store import migrate
from mailwarren.store.engine import dsn
from mailwarren.store.history import own_revisions

pytestmark = pytest.mark.e2e
PASSWORD = "the-right-password"
IN_TIME = 20.0


class Relay:
    """A port that leads to a server once it is opened."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        (self.port,) = free_ports(1)

    def url(self, user: str, path: str) -> str:
        """The server by way of this port."""
        return urlunsplit(self._parts._replace(netloc=f"{user}:{PASSWORD}@127.0.0.1:{self.port}", path=path))

    def open(self) -> None:
        """Let everything through from now on, until the process ends."""
        listener = socket.create_server(("127.0.0.1", self.port), backlog=50)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            near, _ = listener.accept()
            far = socket.create_connection((self._parts.hostname, self._parts.port))
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    @staticmethod
    def _pump(one: socket.socket, other: socket.socket) -> None:
        with closing(one), closing(other):
            with suppress(OSError):
                while data := one.recv(65536):
                    other.sendall(data)
            # A close alone would not wake the thread that reads the other way.
            for end in (one, other):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)


class Watched:
    """A system whose services have their health ports at known places."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.system.token = "mw_nobody"
        self.ports: dict[str, int] = {}

    def start(self, *names: str, **env: str) -> None:
        for name in names:
            (self.ports[name],) = free_ports(1)
            own = {"MAILWARREN_METRICS_PORT": str(self.ports[name]), **env}
            if name == "ingest":
                self.system.start_ingest(wait=False, **own)
            elif name == "tracker":
                self.system.start_tracker(wait=False, env=own)
            else:
                self.system.start_sender(wait=False, env={"MAILWARREN_SMTP_URL": "smtp://127.0.0.1:9", **own})

    def ready(self, name: str) -> tuple[int, dict[str, Any]]:
        self.system.services[name].check()
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.ports[name]}/readyz", timeout=5, verify=no_tls())
        except httpx.TransportError:
            return 0, {}
        return answer.status_code, answer.json()

    def says(self, name: str, where: str, words: str) -> bool:
        """On the metrics port and in the log."""
        logged = (line["reasons"] for line in self.lines(name, "not_ready"))
        return words in self.reasons(name).get(where, "") and any(words in one.get(where, "") for one in logged)

    def reasons(self, name: str) -> dict[str, str]:
        reasons: dict[str, str] = self.ready(name)[1].get("reasons", {})
        return reasons

    def expect(self, check: dict[str, str], says: str) -> None:
        """Every service named in ``check`` says so in that check, and lives on."""
        for name, where in check.items():
            try:
                wait_for(
                    lambda name=name, where=where: self.says(name, where, says),  # type: ignore[misc]
                    *(IN_TIME, f"{says} in {where}"),
                    every=0.2,
                )
            except TimeoutError:
                raise AssertionError(f"{name} says {self.reasons(name)} and not {says!r} in {where}") from None
            assert httpx.get(f"http://127.0.0.1:{self.ports[name]}/healthz", timeout=5).status_code == 200

    def expect_ready(self, told: list[str]) -> None:
        """All become ready, and have told each reason in their logs, each change once."""
        for name in self.ports:
            wait_for(lambda name=name: self.ready(name)[0] == 200, 45, name, every=0.2)  # type: ignore[misc]
            wait_for(lambda name=name: bool(self.lines(name, "ready")), 5, f"{name}.ready")  # type: ignore[misc]
            reasons = [line["reasons"] for line in self.lines(name, "not_ready")]
            for words in told:
                assert any(words in reason for one in reasons for reason in one.values()), (name, words, reasons)
            assert all(one != other for one, other in pairwise(reasons))
            assert PASSWORD not in self.system.services[name].log.read_text()

    def lines(self, name: str, event: str) -> list[dict[str, Any]]:
        text = self.system.services[name].log.read_text()
        found = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        return [line for line in found if line["event"] == f"{name}.{event}"]


@pytest.fixture
def watched(tmp_path: Path, rabbitmq: Any, postgres: Any, amqp_prefix: str) -> Iterator[Watched]:
    system = System(tmp_path, amqp_url=rabbitmq.amqp_url, database_url=postgres.database_url, prefix=amqp_prefix)
    system.command("mailwarren", "migrate")
    yield Watched(system)
    system.close()


def test_a_broker_that_is_mended_step_by_step(watched: Watched, rabbitmq: Any) -> None:
    if rabbitmq.management_url is None:
        pytest.skip("the given broker has no management API")
    user = vhost = f"mailwarren-test-{secrets.token_hex(4)}"
    relay = Relay(rabbitmq.amqp_url)
    watched.start("ingest", "tracker", "sender", MAILWARREN_AMQP_URL=relay.url(user, f"/{vhost}"))
    checks = {"ingest": "broker", "tracker": "broker", "sender": "broker"}
    consumer = {"sender": "consumer"}
    with httpx.Client(base_url=f"{rabbitmq.management_url}/api", timeout=30) as api:

        def put(path: str, **body: str) -> None:
            api.put(path, json=body).raise_for_status()

        try:
            told = [f"no broker at 127.0.0.1:{relay.port}"]
            watched.expect(checks | consumer, told[-1])
            put(f"/users/{user}", password="another", tags="")
            relay.open()
            told.append(f"refused the user {user} or the password")
            watched.expect(checks, told[-1])
            watched.expect(consumer, told[-1])
            put(f"/users/{user}", password=PASSWORD, tags="")
            told.append(f"has no virtual host {vhost}")
            watched.expect(checks, told[-1])
            watched.expect(consumer, told[-1])
            put(f"/vhosts/{vhost}")
            admin = urlsplit(rabbitmq.amqp_url).username or "guest"
            for name in (user, admin):
                put(f"/permissions/{vhost}/{quote(name)}", configure=".*", write=".*", read=".*")
            told.append("missing; run: mailwarren setup")
            watched.expect({"ingest": "topology"}, "queues are missing")
            watched.expect({"tracker": "broker"} | {"sender": "broker"} | consumer, "queue is missing")
            watched.system.env["MAILWARREN_AMQP_URL"] = urlunsplit(
                urlsplit(rabbitmq.amqp_url)._replace(path=f"/{vhost}")
            )
            watched.system.command("mailwarren", "topology", "apply")
            watched.expect_ready([words for words in told if not words.startswith("missing")])
        finally:
            api.delete(f"/vhosts/{vhost}")
            api.delete(f"/users/{user}")


def test_a_database_that_is_mended_step_by_step(watched: Watched, postgres_server: str) -> None:
    role = name = f"mailwarren_test_{secrets.token_hex(4)}"
    watched.system.command("mailwarren", "topology", "apply")
    relay = Relay(postgres_server)
    url = relay.url(role, f"/{name}")
    mine = with_database(postgres_server, name)
    checks = {"ingest": "schema", "tracker": "schema"}

    def sql(*statements: str, at: str = postgres_server) -> None:
        async def run() -> None:
            connection = await asyncpg.connect(dsn(at))
            try:
                for statement in statements:
                    await connection.execute(statement)
            finally:
                await connection.close()

        run_apart(run())

    try:
        watched.start("ingest", "tracker", MAILWARREN_DATABASE_URL=url)
        told = ["no Postgres: "]
        watched.expect(checks, told[-1])
        sql(f"CREATE ROLE {role} LOGIN PASSWORD 'another'")
        relay.open()
        told.append("Postgres refused the user or the password")
        watched.expect(checks, told[-1])
        sql(f"ALTER ROLE {role} PASSWORD '{PASSWORD}'")
        told.append("there is no such database")
        watched.expect(checks, told[-1])
        sql(f"CREATE DATABASE {name} OWNER {role}")
        told.append("the migrations have not run")
        watched.expect(checks, told[-1])
        asyncio.run(migrate.upgrade(url, "0003_claims"))
        told.append("the schema is at 0003_claims and this version needs")
        watched.expect(checks, told[-1])
        head = own_revisions()[-1]
        sql("UPDATE alembic_version SET version_num = '0003_other'", at=mine)
        told.append("the schema is at 0003_other, which does not come from")
        watched.expect(checks, told[-1])
        sql("UPDATE alembic_version SET version_num = '0003_claims'", at=mine)
        asyncio.run(migrate.upgrade(url))
        watched.expect_ready(told)
        # Contracted under services that do not know the step: seen by those that start now.
        sql(
            "INSERT INTO schema_history VALUES ('0999_less', 'contract', '0998_more', now())",
            "UPDATE alembic_version SET version_num = '0999_less'",
            at=mine,
        )
        for service in ("ingest", "tracker"):
            watched.system.services[service].stop()
        watched.start("ingest", "tracker", MAILWARREN_DATABASE_URL=url)
        watched.expect(checks, f"serves versions from 0998_more on; this one is of {head}")
        sql(
            "DELETE FROM schema_history WHERE revision = '0999_less'",
            f"UPDATE alembic_version SET version_num = '{head}'",
            at=mine,
        )
        watched.expect_ready(["serves versions from 0998_more on"])
    finally:
        watched.system.close()
        drop_database(postgres_server, name)
        sql(f"DROP ROLE IF EXISTS {role}")


@pytest.mark.parametrize(
    ("service", "variable", "value", "says"),
    [
        ("ingest", "MAILWARREN_AMQP_URL", "", "give it as amqp://user:password@host:port/vhost"),
        ("tracker", "MAILWARREN_DATABASE_URL", "mysql://u:hidden@x/y", "a database URL starts with postgresql://"),
        (
            "sender",
            "MAILWARREN_AMQP_URL",
            "amqp://u:hidden@h:port/v",
            "give it as amqp://user:password@host:port/vhost",
        ),
        ("sender", "MAILWARREN_PREFETCH", "many", "valid integer"),
    ],
)
def test_settings_that_cannot_be_read_end_the_start_with_one_line(
    watched: Watched, service: str, variable: str, value: str, says: str
) -> None:
    watched.start(service, **{variable: value})
    process = watched.system.services[service]
    assert process.process.wait(timeout=30) == 1
    (line,) = process.tail().splitlines()
    told = json.loads(line)
    assert (told["event"], told["level"]) == (f"{service}.settings.wrong", "critical")
    assert says in told["reasons"][variable]
    assert "hidden" not in line
