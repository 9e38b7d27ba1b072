"""A migrated database, emptied for each test, and messages as the queues deliver them."""

import asyncio
import json
import os
import signal
import sys
import urllib.error
import urllib.request

import asyncpg
import kombu
import pytest

from mailwarren.contracts import codec
from mailwarren.contracts.events import Outcomes
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.topology import Topology
from mailwarren.devstack.databases import run_apart
from mailwarren.runtime.amqp import Link, Publisher
from mailwarren.store import migrate
from mailwarren.store.engine import dsn, make_engine
from mailwarren.tracker.adapters.partitions import Partitions
from mailwarren.tracker.adapters.store import PostgresLedger
from mailwarren.tracker.domain.read import Message, Source, read

NOW = 1_700_000_000.0
TABLES = (
    "contents, emails, cancels, deliveries, events, claims, suppressions, stats_minute, shaping_overrides, "
    "tls_results, email_metrics, breakers"
)


@pytest.fixture(scope="module")
def database_url(postgres):
    run_apart(migrate.upgrade(postgres.database_url))
    return postgres.database_url


@pytest.fixture
async def database(database_url):
    connection = await asyncpg.connect(dsn(database_url))
    await connection.execute(f"TRUNCATE {TABLES}")
    yield connection
    await connection.close()


@pytest.fixture
def empty(database):
    """Empties the tables once more."""

    async def truncate():
        await database.execute(f"TRUNCATE {TABLES}")

    return truncate


@pytest.fixture
async def engine(database_url, database):
    engine = make_engine(database_url)
    yield engine
    await engine.dispose()


@pytest.fixture
async def ledger(engine):
    ledger = PostgresLedger(engine, Partitions(30))
    yield ledger
    await ledger.close()


class Inbound:
    """Works, made from what is published."""

    @staticmethod
    def parcel(parcel, source=Source.ACCEPTED, **headers):
        headers = codec.parcel_headers(parcel) | headers
        return read(Message(source, "q", codec.encode_parcel(parcel), headers), NOW)

    @staticmethod
    def value(value):
        return read(Message(Source.EVENTS, "q", codec.encode(value), codec.headers_of(value)), NOW)

    def events(self, *events):
        return self.value(Outcomes(events))


@pytest.fixture
def inbound():
    return Inbound()


SNAPSHOT = {
    # Without the columns that say when a row was written, and ids that are made by chance.
    "contents": (
        "SELECT digest, tenant, sender, subject, html, text, headers, syntax, first_seen FROM contents ORDER BY digest"
    ),
    "emails": "SELECT * FROM emails ORDER BY id",
    "cancels": "SELECT * FROM cancels ORDER BY email_id",
    "deliveries": "SELECT * FROM deliveries ORDER BY id",
    "events": "SELECT * FROM events ORDER BY id",
    "claims": "SELECT delivery_id, attempt, asker, turn, count FROM claims ORDER BY delivery_id, attempt",
    "suppressions": (
        "SELECT tenant, address, reason, origin, email_id, created_at, expires_at FROM suppressions "
        "ORDER BY tenant, address"
    ),
    "shaping_overrides": "SELECT * FROM shaping_overrides ORDER BY id",
    "tls_results": "SELECT * FROM tls_results ORDER BY tenant, day, domain, policy, result, mx, ip",
    "email_metrics": "SELECT * FROM email_metrics ORDER BY tenant, quarter, domain, broadcast",
    "stats_minute": "SELECT * FROM stats_minute ORDER BY tenant, minute, lane, kind",
}


@pytest.fixture
def snapshot(database):
    """Everything that is stored, as plain values."""

    async def take():
        return {name: [dict(row) for row in await database.fetch(sql)] for name, sql in SNAPSHOT.items()}

    return take


@pytest.fixture(scope="module")
def topology(rabbitmq, amqp_prefix):
    """The tracker's part of the topology and one send queue, declared under the module's own prefix."""
    topology = Topology(amqp_prefix)
    with kombu.Connection(rabbitmq.amqp_url) as connection:
        channel = connection.default_channel
        for exchange in topology.all_exchanges:
            exchange(channel).declare()
        queues = [*topology.tracker_queues, topology.dead_queue, topology.control_log_queue]
        queues += [topology.send_queue(lane, "h0") for lane in Lane]
        for queue in queues:
            queue(channel).declare()
    return topology


class Broker:
    """Publishes as the other services do, and looks into queues."""

    def __init__(self, url, topology):
        self.url = url
        self.topology = topology
        self.link = Link(url, "test")
        self.publisher = Publisher(self.link)

    async def __aenter__(self):
        await self.link.__aenter__()
        async with asyncio.timeout(10):
            await self.link.wait_up()
        return self

    async def __aexit__(self, *error):
        await self.link.__aexit__(*error)

    async def accept(self, *parcels):
        """As ingest does."""
        exchange = self.topology.accept.name
        await asyncio.gather(
            *(
                self.publisher.publish(exchange, f"{p.lane}.h0", codec.encode_parcel(p), codec.parcel_headers(p))
                for p in parcels
            )
        )

    async def defer(self, parcel):
        """As a sender does, but for the rung, which no test here waits for."""
        key = f"{parcel.lane}.h0.5s.{parcel.partition}"
        await self.publisher.publish(
            self.topology.defer.name, key, codec.encode_parcel(parcel), codec.parcel_headers(parcel)
        )

    async def tell(self, value, partition=3, exchange=None):
        """Outcomes, questions, cancels."""
        name = (exchange or self.topology.events).name
        await self.publisher.publish(name, str(partition), codec.encode(value), codec.headers_of(value))

    async def raw(self, exchange, key, body, headers):
        await self.publisher.publish(exchange.name, key, body, headers)

    def drain(self, queue):
        """Everything that waits in a queue, taken out: (body, headers)."""
        found = []
        with kombu.Connection(self.url) as connection:
            channel = connection.default_channel
            while (message := channel.basic_get(queue.name, no_ack=True)) is not None:
                body = message.body
                found.append((body.encode() if isinstance(body, str) else body, message.headers))
        return found

    def depth(self, queue):
        """Messages ready; those unacked count only once their consumer's channel is closed."""
        with kombu.Connection(self.url) as connection:
            return connection.default_channel.queue_declare(queue.name, passive=True).message_count

    def purge(self):
        with kombu.Connection(self.url) as connection:
            for queue in [*self.topology.tracker_queues, self.topology.dead_queue]:
                connection.default_channel.queue_purge(queue.name)


@pytest.fixture
async def broker(rabbitmq, topology):
    broker = Broker(rabbitmq.amqp_url, topology)
    broker.purge()
    async with broker:
        yield broker


async def eventually(condition, seconds=30.0):
    """Wait until an async or plain function returns something true."""
    async with asyncio.timeout(seconds):
        while True:
            result = condition()
            if asyncio.iscoroutine(result):
                result = await result
            if result:
                return result
            await asyncio.sleep(0.02)


@pytest.fixture(name="eventually")
def eventually_fixture():
    return eventually


COMMAND = (sys.executable, "-c", "from mailwarren.tracker.main import main; main(['consume'])")


class Process:
    """A tracker process and its port."""

    def __init__(self, process, port):
        self.process = process
        self.port = port

    def get(self, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    async def ready(self):
        return (await asyncio.to_thread(self.get, "/readyz"))[0] == 200

    async def kill(self):
        self.process.send_signal(signal.SIGKILL)
        return await self.process.wait()

    async def terminate(self):
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            return await self.process.wait()


@pytest.fixture
async def start(rabbitmq, topology, database_url, tmp_path, eventually):
    processes = []

    async def start(url=database_url, **settings):
        environment = os.environ | {
            "MAILWARREN_AMQP_URL": rabbitmq.amqp_url,
            "MAILWARREN_AMQP_PREFIX": topology.prefix,
            "MAILWARREN_DATABASE_URL": url,
            "MAILWARREN_METRICS_HOST": "127.0.0.1",
            "MAILWARREN_METRICS_PORT": "0",
            **settings,
        }
        path = tmp_path / f"tracker{len(processes)}.log"
        with path.open("wb") as log:
            process = await asyncio.create_subprocess_exec(*COMMAND, env=environment, stdout=log, stderr=log)
        processes.append((process, path))
        await eventually(lambda: path.read_bytes().count(b"\n"))
        return Process(process, json.loads(path.read_text().splitlines()[0])["metrics_port"])

    yield start
    for process, path in processes:
        if process.returncode is None:
            # In an orderly way: what a killed one held would come back in the middle of the next test.
            process.terminate()
            await process.wait()
        print(path.read_text()[-4000:])
