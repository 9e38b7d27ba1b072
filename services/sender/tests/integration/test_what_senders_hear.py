"""What senders hear of each other: heartbeats over ``mail.control``, and overrides in the control log by their key."""

import asyncio
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from kombu import Connection

from mailwarren.contracts.access import MARKER_KEY
from mailwarren.contracts.codec import encode, headers_of
from mailwarren.contracts.events import Cancel, CancelBroadcast, ControlEntry
from mailwarren.contracts.shaping import SHAPING_KEY, Heartbeat, Notice, Override, OverrideEnd, Scope
from mailwarren.contracts.topology import Topology
from mailwarren.runtime.amqp import Link, Publisher
from mailwarren.sender.adapters.control_log import ControlLog, ShapingEntry, ShapingWriter
from mailwarren.sender.adapters.notices import Notices

pytestmark = pytest.mark.broker


def declare(url: str, topology: Topology) -> None:
    with Connection(url) as connection:
        channel = connection.channel()
        for exchange in topology.all_exchanges:
            exchange(channel).declare()
        topology.control_log_queue(channel).declare()


def write(url: str, topology: Topology, entry: ControlEntry, key: str) -> None:
    with Connection(url) as connection:
        connection.Producer().publish(
            encode(entry), exchange=topology.control_log.name, routing_key=key, headers=headers_of(entry),
            content_type="application/octet-stream", content_encoding="binary", delivery_mode=2,
        )  # fmt: skip


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def an_override(**fields: Any) -> Override:
    now = time.time()
    return Override(uuid4(), Scope.SITE, "x", now, now + 60, **fields)


async def test_every_sender_hears_every_heartbeat(rabbitmq: Any, amqp_prefix: str) -> None:
    topology = Topology(amqp_prefix)
    await asyncio.to_thread(declare, rabbitmq.amqp_url, topology)
    heard: dict[str, list[Notice]] = {"a": [], "b": []}
    links = {name: Link(rabbitmq.amqp_url, name) for name in heard}
    notices = {name: Notices(link, Publisher(link), topology, heard[name].append) for name, link in links.items()}
    beat = Heartbeat(
        sender=uuid4(), host="h", fleet="bulk", version="1", started_at=1.0, at=2.0, queues=("send.bulk.h0",),
        in_flight=1, limit=2, waiting=3, mails_10s=4,
    )  # fmt: skip
    await notices["a"].say(beat)  # without a broker it is lost, and nobody minds
    async with links["a"], links["b"]:
        await until(lambda: links["a"].up and links["b"].up)
        await notices["a"].say(beat)
        await until(lambda: heard == {"a": [beat], "b": [beat]})


async def test_an_override_reaches_those_who_are_there_and_those_who_come_later(
    rabbitmq: Any, amqp_prefix: str
) -> None:
    topology = Topology(f"{amqp_prefix}log.")
    await asyncio.to_thread(declare, rabbitmq.amqp_url, topology)
    override, there, later = an_override(suspend=True), [], []  # type: ignore[var-annotated]
    link, other = Link(rabbitmq.amqp_url, "a"), Link(rabbitmq.amqp_url, "b")
    writer = ShapingWriter(Publisher(link), topology)
    ControlLog(link, topology, there.append)
    async with link:
        await link.wait_up()
        began = time.monotonic()
        await writer.write(override)
        await until(lambda: there == [override])
        assert time.monotonic() - began < 2.0
        await writer.write(OverrideEnd(override.id, 1.0, "ada"))
    log = ControlLog(other, topology, later.append)
    async with other:
        await until(lambda: log.read)
        assert [type(entry) for entry in later] == [Override, OverrideEnd]


@pytest.mark.parametrize("key", [SHAPING_KEY, MARKER_KEY])
async def test_what_comes_under_a_key_that_senders_may_write_is_no_cancel(
    rabbitmq: Any, amqp_prefix: str, key: str
) -> None:
    """A sender that was taken over cannot cancel mail."""
    topology, email = Topology(f"{amqp_prefix}{key}."), UUID(int=5)
    await asyncio.to_thread(declare, rabbitmq.amqp_url, topology)
    heard: list[ShapingEntry] = []
    link = Link(rabbitmq.amqp_url, "a")
    log = ControlLog(link, topology, heard.append)
    await asyncio.to_thread(write, rabbitmq.amqp_url, topology, Cancel(email, UUID(int=1), time.time()), key)
    await asyncio.to_thread(write, rabbitmq.amqp_url, topology, an_override(), MARKER_KEY)
    async with link:
        await until(lambda: log.read)
        assert not log.is_canceled(email)
        assert heard == []
        await asyncio.to_thread(write, rabbitmq.amqp_url, topology, Cancel(email, UUID(int=1), time.time()), "p3")
        await until(lambda: log.is_canceled(email))
        withdrawn = CancelBroadcast(UUID(int=6), UUID(int=1), time.time())
        await asyncio.to_thread(write, rabbitmq.amqp_url, topology, withdrawn, "broadcast")
        await until(lambda: log.is_canceled(UUID(int=6)))
