"""Webhooks in the database, real receivers on free ports, and the dispatcher in the test's own loop."""

import asyncio
import base64
import contextlib
import time
from dataclasses import dataclass, field
from uuid import UUID

import pytest

from mailwarren.contracts.ids import new_id
from mailwarren.contracts.testing import TENANT
from mailwarren.contracts.webhooks import SECRET_OCTETS, EventType
from mailwarren.runtime.vault import Vault
from mailwarren.tracker.adapters.kept import Kept
from mailwarren.tracker.adapters.receivers import Receivers
from mailwarren.tracker.webhooks.dispatch import Dispatcher, Limits
from mailwarren.tracker.webhooks.results import Results

KEY = base64.urlsafe_b64encode(b"k" * 32).decode()
SECRET = b"s" * SECRET_OCTETS
TABLES = "webhooks, webhook_deliveries, webhook_attempts, webhook_health"


@dataclass
class Got:
    """A request."""

    at: float
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


@dataclass
class Receiver:
    """A tenant's server: keeps what it gets, and answers as it is told."""

    status: int = 200
    extra: tuple[str, ...] = ()
    """More header lines of its answers."""
    said: bytes = b"thanks"
    delay: float = 0.0
    got: list[Got] = field(default_factory=list)
    connections: int = 0
    most: int = 0
    """Requests at once that somebody waited for."""
    port: int = 0
    _now: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def ids(self) -> list[str]:
        return [one.id for one in self.got]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = dict(line.split(": ", 1) for line in head[1:] if line)
                headers = {name.lower(): value for name, value in headers.items()}
                body = await reader.readexactly(int(headers["content-length"]))
                self._now += 1
                self.most = max(self.most, self._now)
                self.got.append(Got(time.monotonic(), head[0].split()[1], headers, body))
                gone = await self._gone(reader)
                self._now -= 1
                if gone:
                    break
                lines = [f"HTTP/1.1 {self.status} X", f"Content-Length: {len(self.said)}", *self.extra, "", ""]
                writer.write("\r\n".join(lines).encode() + self.said)
                await writer.drain()
        writer.close()

    async def _gone(self, reader: asyncio.StreamReader) -> bool:
        """Whether who asked hangs up before the answer is due: such a request is over."""
        end = asyncio.ensure_future(reader.read(1))
        done, _ = await asyncio.wait({end}, timeout=self.delay)
        if not done:
            end.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await end
        return bool(done)


@pytest.fixture
async def receiver():
    """Makes receivers."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(**behaviour):
            one = Receiver(**behaviour)
            server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
            stack.callback(server.close)
            one.port = server.sockets[0].getsockname()[1]
            return one

        yield make


class Hooks:
    """Rows as ingest and the tracker write them."""

    key = KEY

    def __init__(self, database):
        self.database = database
        self.vault = Vault([KEY])

    async def add(self, url, events=tuple(EventType), tenant=TENANT, secret=SECRET, ident=None):
        ident = ident or new_id()
        await self.database.execute(
            "INSERT INTO webhooks (tenant, id, endpoint, events, status, secret, enabled_at, created_at, updated_at) "
            "VALUES ($1, $2, $3, $4, 'enabled', $5, now(), now(), now())",
            tenant, ident, url, [str(event) for event in events], self.vault.close(secret),
        )  # fmt: skip
        return ident

    async def tell(self, endpoint, number=1, tenant=TENANT, age=0.0):
        """Events for an endpoint; their ids."""
        rows = await self.database.fetch(
            "INSERT INTO webhook_deliveries (tenant, endpoint, id, kind, at, data, created_at) "
            "SELECT $1, $2, id, 'contact.created', now(), '{\"email\": \"a@b.test\"}', now() - $4 * interval '1 s' "
            "FROM unnest($3::uuid[]) AS t (id) RETURNING id",
            tenant, endpoint, [new_id() for _ in range(number)], age,
        )  # fmt: skip
        return [str(row[0]) for row in rows]

    async def states(self, endpoint):
        rows = await self.database.fetch(
            "SELECT state, count(*)::int FROM webhook_deliveries WHERE endpoint = $1 GROUP BY state", endpoint
        )
        return {row[0]: row[1] for row in rows}

    async def row(self, ident):
        return await self.database.fetchrow("SELECT * FROM webhook_deliveries WHERE id = $1", UUID(str(ident)))

    async def health(self, endpoint):
        return await self.database.fetchrow("SELECT * FROM webhook_health WHERE endpoint = $1", endpoint)

    async def due(self, endpoint):
        """Let everything be due now."""
        await self.database.execute("UPDATE webhook_deliveries SET due_at = now() WHERE endpoint = $1", endpoint)


@pytest.fixture
async def hooks(database):
    await database.execute(f"TRUNCATE {TABLES}")
    return Hooks(database)


@pytest.fixture
async def kept(engine):
    """A connection to claim over."""
    one = Kept(engine)
    yield one
    await one.close()


@pytest.fixture
async def telling(engine, hooks):
    """Starts dispatchers; each is stopped in order at the end."""
    running = []

    async def start(*, private=True, resolver=None, vault=hooks.vault, **limits):
        given = {"each": 10, "all": 500, "timeout": 2.0, "interval": 0.1} | limits
        chosen = Limits(**given)
        stop, ended = asyncio.Event(), asyncio.Event()
        claiming, writing = Kept(engine), Kept(engine)
        receivers = Receivers(private=private, timeout=chosen.timeout, most=chosen.each, resolver=resolver)
        results = Results(writing)
        dispatcher = Dispatcher(claiming, receivers, results, vault, chosen)
        tasks = asyncio.create_task(results.run(ended)), asyncio.create_task(dispatcher.run(stop))

        async def end():
            if not stop.is_set():
                stop.set()
                results.stopping = True
                await tasks[1]
                ended.set()
                await tasks[0]
                await receivers.close()
                await claiming.close()
                await writing.close()

        running.append(end)
        return end

    yield start
    for end in running:
        await end()
