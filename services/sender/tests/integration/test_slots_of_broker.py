"""The broker as the semaphore of a site's connections (ADR 0024), with a real broker and several senders' holders."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

import pytest
from aio_pika.abc import AbstractConnection
from kombu import Connection

from mailwarren.contracts.codec import encode, headers_of
from mailwarren.contracts.ids import new_id
from mailwarren.contracts.shaping import Keeper as KeeperMessage
from mailwarren.contracts.shaping import Override, Scope
from mailwarren.contracts.topology import KEEPER_KEY, Topology
from mailwarren.runtime.amqp import Link, Publisher
from mailwarren.runtime.tasks import end
from mailwarren.sender.adapters.control_log import ControlLog, ShapingEntry, ShapingWriter
from mailwarren.sender.adapters.keeper_queue import KeeperQueue
from mailwarren.sender.domain.in_force import InForce
from mailwarren.sender.shaping.holder import WIND_DOWN, SlotHolder, Use
from mailwarren.sender.shaping.keeper import Keeper
from mailwarren.sender.smtp import Shaping, SiteLimits, SitePolicy

pytestmark = pytest.mark.broker

SITE = "provider.test"
NOTICE = 3.0
LACKING = 2.0


def declare(url: str, topology: Topology) -> None:
    with Connection(url) as connection:
        channel = connection.channel()
        for exchange in topology.all_exchanges:
            exchange(channel).declare()
        for queue in (topology.control_log_queue, topology.keeper_queue, *topology.slot_queues):
            queue(channel).declare()
        message = KeeperMessage(at=time.time())
        connection.Producer().publish(
            encode(message), exchange=topology.slots.name, routing_key=KEEPER_KEY, headers=headers_of(message),
            content_type="application/octet-stream", content_encoding="binary", delivery_mode=2,
        )  # fmt: skip


class Rows:
    """The rules, as a test changes them."""

    def __init__(self, connections: int) -> None:
        self.put(connections)

    def put(self, connections: int) -> None:
        self.shaping = Shaping({SITE: SitePolicy(SiteLimits(connections=connections))})


class Sender:
    """What of a sender has to do with slots: it uses as many connections as it is allowed and wants."""

    def __init__(self, url: str, topology: Topology, rows: Rows, *, high: bool = False) -> None:
        self.link = Link(url, "test")
        self.topology = topology
        self.wanted = 0
        self.in_force = InForce()
        publisher = Publisher(self.link)
        self.writer = ShapingWriter(publisher, topology)
        self.control = ControlLog(self.link, topology, self._heard)
        self.keeper_queue = KeeperQueue(self.link, publisher, topology)
        self.keeper = Keeper(
            queue=self.keeper_queue,
            writer=self.writer,
            in_force=self.in_force,
            shaping=lambda: rows.shaping,
            ready=lambda: self.control.read,
            lacks=lambda _site, slots: self.wanted > self.used < slots,
            notice=NOTICE,
            lacking=LACKING,
        )
        self.connection: AbstractConnection | None = None
        self.link.on_up(self._connected)
        self.holder = SlotHolder(
            SITE,
            topology,
            self.in_force,
            high=high,
            use=self._use,
            changed=lambda: None,
            connection=lambda: self.connection if self.link.up else None,
        )
        self._tasks: list[asyncio.Task[None]] = []

    def _heard(self, entry: ShapingEntry) -> None:
        self.in_force.apply(entry, time.time())
        self.holder.nudge()

    def _use(self) -> Use:
        used = min(self.wanted, self.holder.allowed)
        return Use(used, 0, self.wanted - used)

    async def _connected(self, connection: AbstractConnection) -> None:
        self.connection = connection
        self.holder.nudge()

    def want(self, connections: int) -> None:
        self.wanted = connections
        self.holder.nudge()

    @property
    def used(self) -> int:
        return self._use().used

    async def __aenter__(self) -> Self:
        await self.link.__aenter__()
        self._tasks = [asyncio.create_task(self.holder.run()), asyncio.create_task(self.keeper.run())]
        return self

    async def kill(self) -> None:
        """As the broker sees a process that dies: the connection is gone, and nothing was given back."""
        await end(self._tasks)
        await self.link.__aexit__()

    async def __aexit__(self, *_: object) -> None:
        await self.kill()


Start = Callable[..., Any]


@pytest.fixture
async def start(rabbitmq: Any, amqp_prefix: str, request: pytest.FixtureRequest) -> AsyncIterator[Start]:
    prefix = f"{amqp_prefix}{abs(hash(request.node.name)) % 10**6}."
    topology = Topology(prefix, sites=(SITE,))
    await asyncio.to_thread(declare, rabbitmq.amqp_url, topology)
    async with contextlib.AsyncExitStack() as stack:

        async def begin(rows: Rows, **options: Any) -> Sender:
            return await stack.enter_async_context(Sender(rabbitmq.amqp_url, topology, rows, **options))

        yield begin


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def watch(senders: list[Sender], seconds: float) -> list[int]:
    """How many connections all used together, again and again."""
    seen, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        seen.append(sum(sender.used for sender in senders))
        await asyncio.sleep(0.005)
    return seen


async def test_three_senders_have_all_slots_together_and_never_more(start: Start) -> None:
    rows = Rows(6)
    senders = [await start(rows, high=True) for _ in range(3)]
    for sender in senders:
        sender.want(10)
    await until(lambda: sum(sender.used for sender in senders) == 6)
    seen = await watch(senders, 2.0)
    assert max(seen) == 6


async def test_slots_of_a_lost_connection_are_free_at_once(start: Start) -> None:
    rows = Rows(4)
    first = await start(rows, high=True)
    first.want(4)
    await until(lambda: first.used == 4)
    second = await start(rows, high=True)
    second.want(4)
    assert first.connection is not None
    began = time.monotonic()
    first.want(0)
    await first.connection.close()
    await until(lambda: second.used == 4, 3.0)
    assert time.monotonic() - began < 2.0
    assert first.used == 0


async def test_who_waits_gets_a_slot_from_who_has_them_all(start: Start) -> None:
    rows = Rows(5)
    rich, poor = await start(rows), await start(rows)
    rich.want(10)
    await until(lambda: rich.used == 4)
    poor.want(10)
    await until(lambda: poor.used >= 1, 8.0)
    assert rich.used + poor.used <= 4


async def test_one_slot_is_the_high_lanes_and_others_come_to_it_soon(start: Start) -> None:
    rows = Rows(5)
    bulk = await start(rows)
    bulk.want(10)
    await until(lambda: bulk.used == 4)
    high = await start(rows, high=True)
    began = time.monotonic()
    high.want(1)
    await until(lambda: high.used == 1)
    assert time.monotonic() - began < 3.0
    assert bulk.used == 4
    high.want(3)
    await until(lambda: high.used == 3, 5.0)
    assert bulk.used <= 2


async def test_the_post_of_keeper_passes_on(start: Start) -> None:
    rows = Rows(3)
    first = await start(rows, high=True)
    await until(lambda: first.keeper_queue.held)
    second = await start(rows, high=True)
    second.want(9)
    await until(lambda: second.used == 3)
    await first.kill()
    await until(lambda: second.keeper_queue.held)
    rows.put(2)
    await until(lambda: second.used == 2, NOTICE + 5)


async def test_a_new_plan_is_obeyed_by_all_from_its_moment(start: Start) -> None:
    rows = Rows(5)
    senders = [await start(rows, high=True) for _ in range(2)]
    for sender in senders:
        sender.want(10)
    await until(lambda: sum(sender.used for sender in senders) == 5)
    for connections in (3, 8):
        rows.put(connections)
        await until(lambda: any(sender.in_force.coming(SITE, time.time()) for sender in senders))
        coming = senders[0].in_force.coming(SITE, time.time()) or senders[1].in_force.coming(SITE, time.time())
        assert coming is not None
        before = max(await watch(senders, max(0.0, coming.valid_from - WIND_DOWN - time.time())), default=0)
        assert before <= 5
        await asyncio.sleep(max(0.0, coming.valid_from - time.time()))
        after = await watch(senders, 2.0)
        assert max(after) <= connections
        await until(lambda of=connections: sum(sender.used for sender in senders) == of)  # type: ignore[misc]


def purge(url: str, topology: Topology) -> int:
    with Connection(url) as connection:
        channel = connection.default_channel
        return sum(channel.queue_purge(queue.name) for queue in topology.slot_queues)


async def test_slots_that_were_purged_are_put_out_anew(start: Start, rabbitmq: Any) -> None:
    sender = await start(Rows(5))
    sender.want(2)
    # It may have taken more than it uses while the plan came; what goes back now would not be purged.
    async with asyncio.timeout(10.0):
        while sender.used < 2 or await sender.keeper_queue.ready(SITE) != 3:
            await asyncio.sleep(0.05)
    assert await asyncio.to_thread(purge, rabbitmq.amqp_url, sender.topology) == 3
    sender.want(5)
    assert max(await watch([sender], 1.0)) < 4
    await until(lambda: sender.used == 4, LACKING + NOTICE + 5)
    assert max(await watch([sender], 1.0)) == 4


async def test_a_keeper_outlives_a_queue_of_slots_that_somebody_deleted(start: Start, rabbitmq: Any) -> None:
    rows = Rows(2)
    sender = await start(rows, high=True)
    sender.want(2)
    await until(lambda: sender.used == 2)

    def delete() -> None:
        with Connection(rabbitmq.amqp_url) as connection:
            connection.default_channel.queue_delete(sender.topology.slot_queue(SITE).name)

    await asyncio.to_thread(delete)
    await until(lambda: sender.used < 2)
    await asyncio.sleep(LACKING + 1.5)
    await asyncio.to_thread(declare, rabbitmq.amqp_url, sender.topology)
    await until(lambda: sender.used == 2, LACKING + NOTICE + 5)


async def test_slots_that_an_override_takes_out_of_use_are_not_put_out_anew(start: Start) -> None:
    sender = await start(Rows(3), high=True)
    sender.want(3)
    await until(lambda: sender.used == 3)
    before = sender.in_force.last_plan(SITE)
    now = time.time()
    await sender.writer.write(Override(new_id(), Scope.SITE, SITE, now, now + LACKING + 3, connections=1))
    await until(lambda: sender.used == 1)
    await watch([sender], LACKING + 1.5)
    assert sender.in_force.last_plan(SITE) == before


async def test_an_override_takes_slots_out_of_use_and_gives_them_back(start: Start) -> None:
    rows = Rows(5)
    senders = [await start(rows, high=True) for _ in range(2)]
    for sender in senders:
        sender.want(10)
    await until(lambda: sum(sender.used for sender in senders) == 5)
    now = time.time()
    await senders[0].writer.write(Override(new_id(), Scope.SITE, SITE, now, now + 4.0, connections=1))
    await until(lambda: sum(sender.used for sender in senders) <= 1, 2.0)
    assert max(await watch(senders, 1.5)) <= 1
    await until(lambda: sum(sender.used for sender in senders) == 5)


async def test_a_site_without_slots_in_the_broker_is_known_as_such(start: Start, rabbitmq: Any) -> None:
    sender = await start(Rows(2))
    other = SlotHolder(
        "unknown.test",
        Topology("none."),
        sender.in_force,
        high=False,
        use=lambda: Use(backlog=1),
        changed=lambda: None,
        connection=lambda: sender.connection,
    )
    await until(lambda: sender.link.up)
    task = asyncio.create_task(other.run())
    await until(lambda: other.missing)
    task.cancel()


async def test_two_systems_on_one_broker_have_their_own_slots(start: Start, rabbitmq: Any, amqp_prefix: str) -> None:
    topology = Topology(f"{amqp_prefix}other.", sites=(SITE,))
    await asyncio.to_thread(declare, rabbitmq.amqp_url, topology)
    here = await start(Rows(3), high=True)
    async with Sender(rabbitmq.amqp_url, topology, Rows(2), high=True) as there:
        here.want(9)
        there.want(9)
        await until(lambda: (here.used, there.used) == (3, 2))
        assert max(await watch([here, there], 1.0)) == 5
