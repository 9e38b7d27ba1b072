"""A day's number shared out over the control log of a real broker. Needs RabbitMQ."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import pytest
from kombu import Connection

from mailwarren.contracts.access import MARKER_KEY
from mailwarren.contracts.codec import encode, headers_of
from mailwarren.contracts.egress import Reservation, day_of
from mailwarren.contracts.ids import new_id
from mailwarren.contracts.topology import Topology
from mailwarren.runtime.amqp import Link, Publisher
from mailwarren.sender.adapters.control_log import ControlLog, ShapingWriter
from mailwarren.sender.egress.leases import Leases

pytestmark = pytest.mark.broker
NUMBER = 200
KEYED = "out2", "google"


def declare(url: str, topology: Topology) -> None:
    with Connection(url) as connection:
        channel = connection.channel()
        for exchange in topology.all_exchanges:
            exchange(channel).declare()
        topology.control_log_queue(channel).declare()
        topology.shaping_queue(channel).declare()


def put(url: str, topology: Topology, entry: Reservation, key: str) -> None:
    with Connection(url) as connection:
        connection.Producer().publish(
            encode(entry), exchange=topology.control_log.name, routing_key=key, headers=headers_of(entry),
            content_type="application/octet-stream", content_encoding="binary", delivery_mode=2,
        )  # fmt: skip


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def a_process(url: str, topology: Topology) -> AsyncIterator[Leases]:
    """A sender as far as numbers of a day go."""
    link = Link(url, "test")
    leases = Leases(uuid4(), ShapingWriter(Publisher(link), topology).write)
    log = ControlLog(link, topology, lambda _: None, leases.heard)
    async with link:
        await until(lambda: log.read)
        yield leases


async def take(leases: Leases, times: int) -> int:
    key = (*KEYED, leases.today)
    return sum(await asyncio.gather(*(leases.take(key, NUMBER) for _ in range(times))))


@pytest.fixture
async def topology(rabbitmq: Any, amqp_prefix: str) -> Topology:
    """A log of its own for each test."""
    made = Topology(f"{amqp_prefix}{new_id().hex}.")
    await asyncio.to_thread(declare, rabbitmq.amqp_url, made)
    return made


async def test_senders_share_one_number_and_the_next_one_knows_what_is_gone(rabbitmq: Any, topology: Topology) -> None:
    url = rabbitmq.amqp_url
    async with a_process(url, topology) as one, a_process(url, topology) as other:
        assert sum(await asyncio.gather(take(one, 150), take(other, 150))) == NUMBER
        key = (*KEYED, one.today)
        await until(lambda: one.taken(key) == other.taken(key) == NUMBER)
    async with a_process(url, topology) as later:
        assert later.taken((*KEYED, later.today)) == NUMBER
        assert await take(later, 5) == 0


async def test_what_a_stopped_sender_had_left_goes_to_the_next(rabbitmq: Any, topology: Topology) -> None:
    url = rabbitmq.amqp_url
    async with a_process(url, topology) as one:
        assert await take(one, 5) == 5
        await one.close()
    async with a_process(url, topology) as other:
        assert other.taken((*KEYED, other.today)) == 5
        assert await take(other, NUMBER) == NUMBER - 5


async def test_the_tracker_is_not_told_and_a_reservation_under_another_key_counts_for_nothing(
    rabbitmq: Any, topology: Topology
) -> None:
    url = rabbitmq.amqp_url
    async with a_process(url, topology) as leases:
        foreign = Reservation(uuid4(), uuid4(), *KEYED, day_of(time.time()), 100, NUMBER)
        await asyncio.to_thread(put, url, topology, foreign, MARKER_KEY)
        assert await take(leases, 1) == 1
        assert leases.taken((*KEYED, leases.today)) == 10  # a twentieth, and nothing of the foreign one

    def told() -> int:
        with Connection(url) as connection:
            found = topology.shaping_queue(connection.channel()).queue_declare(passive=True)
            return int(found.message_count)

    assert await asyncio.to_thread(told) == 0
