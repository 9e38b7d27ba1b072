"""The API in a thread of its own against the shared RabbitMQ and Postgres, and what tests need to look behind it.

Tests share queues and tables and are kept apart by tenants: each gets its own, with a full-access key.
"""

import asyncio
import base64
import hashlib
import itertools
import secrets
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import httpx
import pytest
import resend
import uvicorn
import uvloop
from import_runs import Workers
from kombu import Connection
from pydantic import SecretStr

from mailwarren.contracts.codec import decode_parcel
from mailwarren.contracts.ids import new_id
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.parcel import Parcel
from mailwarren.contracts.topology import Topology
from mailwarren.devstack.broker_names import delete_prefixed
from mailwarren.devstack.databases import create_database, drop_database, run_apart, with_database
from mailwarren.ingest.commands.broker import apply_topology
from mailwarren.ingest.commands.database import migrate
from mailwarren.ingest.main import Api, running_api
from mailwarren.ingest.settings import Settings
from mailwarren.store.engine import dsn

T = TypeVar("T")
SCALE = 0.01


@dataclass(frozen=True)
class Place:
    """Where the servers are, and the name prefix of the topology."""

    amqp_url: str
    database_url: str
    prefix: str

    @property
    def topology(self) -> Topology:
        return Topology(self.prefix, SCALE)

    def settings(self, **changes: Any) -> Settings:
        values: dict[str, Any] = {
            "amqp_url": SecretStr(self.amqp_url),
            "database_url": SecretStr(self.database_url),
            "amqp_prefix": self.prefix,
            "retry_scale": SCALE,
            "depth_interval": 0.2,
            "read_wait": 0.3,
        }
        return Settings(**(values | changes))

    def sql(self, statement: str, *values: object) -> list[asyncpg.Record]:
        """Run a statement."""

        async def run() -> list[asyncpg.Record]:
            connection = await asyncpg.connect(self.database_url)
            try:
                return await connection.fetch(statement, *values)
            finally:
                await connection.close()

        return run_apart(run())


@dataclass(frozen=True)
class Caller:
    """A tenant with its key."""

    tenant: UUID
    token: str
    key: UUID


class Server:
    """The API on a free port, in a thread with an event loop of its own."""

    def __init__(self, settings: Settings, *, ready: bool = True) -> None:
        self._settings = settings
        self.max_body, self.read_wait = settings.max_body, settings.read_wait
        self._stop: asyncio.Event
        self._up = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.root = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.url = f"{self.root}/v1"
        self.api: Api
        self._thread = threading.Thread(target=self._run, name="api", daemon=True)
        self._thread.start()
        assert self._up.wait(20)
        if ready:
            eventually(lambda: httpx.get(f"{self.root}/readyz", verify=False).status_code == 200)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            self.loop = runner.get_loop()
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        async with running_api(self._settings) as self.api:
            config = uvicorn.Config(self.api.app, loop="none", lifespan="off", log_config=None, access_log=False)
            server = uvicorn.Server(config)
            serving = asyncio.create_task(server.serve(sockets=[self._socket]))
            self._up.set()
            await self._stop.wait()
            server.should_exit = True
            await serving

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the API's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def client(self, token: str | None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, verify=False)  # no TLS to set up

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        assert not self._thread.is_alive()


class Queues:
    """The broker's queues, read and emptied."""

    def __init__(self, place: Place) -> None:
        self.topology = place.topology
        self._connection = Connection(place.amqp_url)
        self.channel = self._connection.channel()
        self.send = [queue.name for queue in self.topology.send_queues]
        self.accepted = [self.topology.accepted_queue(lane).name for lane in Lane]

    def take(self, *names: str) -> list[Any]:
        """All messages of these queues."""
        found = []
        for name in names:
            while message := self.channel.basic_get(name, no_ack=True):
                found.append(message)
        return found

    def parcels(self, *names: str) -> list[Parcel]:
        """The parcels in these queues (all send queues for none)."""
        return [_parcel(message) for message in self.take(*(names or self.send))]

    def recorded(self) -> list[Parcel]:
        """The parcels that wait for the tracker."""
        return self.parcels(*self.accepted)

    def follow(self, name: str) -> Iterator[Any]:
        """Messages of a queue that needs a consumer: a single active one, or a stream from its start."""
        found: list[Any] = []
        channel = self._connection.channel()
        channel.basic_qos(0, 100, False)
        stream = {"x-stream-offset": "first"} if name == self.topology.control_log_queue.name else {}
        channel.basic_consume(name, callback=found.append, arguments=stream)
        while True:
            while not found:
                self._connection.drain_events(timeout=5)
            message = found.pop(0)
            channel.basic_ack(message.delivery_tag)
            yield message

    def empty(self) -> None:
        for name in (*self.send, *self.accepted, self.topology.dead_queue.name):
            self.channel.queue_purge(name, nowait=True)
        # Answered after all of them.
        self.channel.queue_declare(self.topology.dead_queue.name, passive=True)

    def close(self) -> None:
        self._connection.release()


def _parcel(message: Any) -> Parcel:
    body = message.body.encode() if isinstance(message.body, str) else bytes(message.body)
    return decode_parcel(body, message.headers)


def eventually(true: Callable[[], bool], within: float = 10.0) -> None:
    """Wait until ``true()``."""
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def place(rabbitmq: Any, postgres_server: str) -> Iterator[Place]:
    """A topology and a migrated database for all tests of ingest."""
    name = f"mailwarren_test_ingest_{secrets.token_hex(4)}"
    found = Place(rabbitmq.amqp_url, dsn(with_database(postgres_server, name)), f"ti{secrets.token_hex(3)}.")
    create_database(postgres_server, name)
    run_apart(migrate(found.database_url, 10))
    apply_topology(found.amqp_url, found.topology, 10)
    yield found
    delete_prefixed(found.amqp_url, found.prefix, rabbitmq.management_url)
    drop_database(postgres_server, name)


@pytest.fixture(scope="session")
def server(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The API that all tests share."""
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_bytes(base64.b64encode(secrets.token_bytes(32)))
    running = Server(place.settings(data_keys=keys))
    yield running
    running.stop()


@pytest.fixture(scope="session")
def new_caller(place: Place) -> Callable[..., Caller]:
    """Makes a tenant with a key; say ``tenant=`` for another key of the same."""
    numbers = itertools.count()

    def make(permission: str = "full_access", domains: list[str] | None = None, tenant: UUID | None = None) -> Caller:
        caller = Caller(tenant or new_id(), f"mw_{next(numbers):032}", new_id())
        place.sql(
            "INSERT INTO api_keys (id, tenant, name, permission, domains, prefix, hash, created_at, updated_at) "
            "VALUES ($1, $2, 'test', $3, $4, $5, $6, clock_timestamp(), clock_timestamp())",
            caller.key, caller.tenant, permission, domains, caller.token[:8],
            hashlib.sha256(caller.token.encode()).digest(),
        )  # fmt: skip
        return caller

    return make


@pytest.fixture
def caller(new_caller: Callable[..., Caller]) -> Caller:
    """A tenant of the test's own."""
    return new_caller()


@pytest.fixture
def client(server: Server, caller: Caller) -> Iterator[httpx.Client]:
    """An HTTP client of that tenant."""
    with server.client(caller.token) as found:
        yield found


@pytest.fixture
def sdk(server: Server, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """The official SDK talks to the API as that tenant."""
    monkeypatch.setattr(resend, "api_url", server.url)
    monkeypatch.setattr(resend, "api_key", caller.token)


@pytest.fixture
def queues(place: Place) -> Iterator[Queues]:
    """The queues, empty at first."""
    found = Queues(place)
    found.empty()
    yield found
    found.close()


@pytest.fixture
def start(place: Place) -> Iterator[Callable[..., Server]]:
    """Starts another API with settings of its own."""
    running: list[Server] = []

    def make(*, ready: bool = True, **changes: Any) -> Server:
        running.append(Server(place.settings(**changes), ready=ready))
        return running[-1]

    yield make
    for one in running:
        one.stop()


@pytest.fixture
def workers(place: Place) -> Workers:
    """What works imports off; there are none but the test's own."""
    place.sql("DELETE FROM contact_imports")
    return Workers(place)


@pytest.fixture
def wait_until() -> Callable[..., None]:
    """:func:`eventually`."""
    return eventually


@pytest.fixture
def mail() -> dict[str, Any]:
    """A mail that can be sent."""
    return {"from": "Ada <ada@sender.test>", "to": "bob@example.test", "subject": "Hello", "text": "Hello, you."}
