"""Publishes that leave together are answered each for itself, whatever becomes of the others."""

import asyncio
import time
from typing import Any

import pytest
from aiormq.abc import ChannelFrame
from aiormq.channel import Channel

from mailwarren.runtime.amqp import Nacked, NotConnected, Publisher, Unknown, Unroutable
from mailwarren.runtime.bursts import Bursts

pytestmark = pytest.mark.broker

Outcomes = list[type[BaseException | None]]


def channel_of(publisher: Publisher) -> Channel:
    """What is below; the tests that use it notice when aiormq keeps its books in another way."""
    bursts: Bursts | None = publisher._bursts
    assert bursts is not None
    return bursts._channel


async def outcomes(*publishes: Any) -> Outcomes:
    return [type(one) for one in await asyncio.gather(*publishes, return_exceptions=True)]


async def bodies(broker, queue: str) -> list[bytes]:
    return [message.body for message in await broker.messages(queue)]


async def test_the_publishes_of_a_turn_are_one_write(broker, publisher, monkeypatch) -> None:
    queue = await broker.queue()
    channel, writes = channel_of(publisher), []
    put = channel.write_queue.put_nowait
    monkeypatch.setattr(channel.write_queue, "put_nowait", lambda frame: (writes.append(frame), put(frame)))
    await asyncio.gather(*(publisher.publish("", queue, b"%d" % n, {}) for n in range(100)))
    assert len(writes) == 1
    assert await bodies(broker, queue) == [b"%d" % n for n in range(100)]


async def test_nothing_is_left_in_the_books_of_the_channel(broker, publisher) -> None:
    queue = await broker.queue()
    await outcomes(*(publisher.publish("", queue if n % 3 else "nowhere", b"{}", {}) for n in range(50)))
    await publisher.publish("", queue, b"{}", {})
    channel = channel_of(publisher)
    assert channel.delivery_tag == 51
    assert not channel.confirmations
    assert not channel.message_id_delivery_tag


async def test_each_return_and_each_nack_finds_its_publish(broker, publisher) -> None:
    roomy, full = await broker.queue(), await broker.queue(x_max_length=1, x_overflow="reject-publish")
    while await outcomes(publisher.publish("", full, b"{}", {})) != [Nacked]:
        pass
    expected = {roomy: type(None), "nowhere": Unroutable, full: Nacked}
    targets = [(roomy, "nowhere", full)[n * n % 7 % 3] for n in range(300)]
    assert set(targets) == set(expected)
    found = await outcomes(*(publisher.publish("", target, b"%d" % n, {}) for n, target in enumerate(targets)))
    assert found == [expected[target] for target in targets]
    assert await bodies(broker, roomy) == [b"%d" % n for n, target in enumerate(targets) if target == roomy]


async def test_a_publish_that_closes_the_channel_takes_down_no_more_than_what_is_in_flight(
    broker, link, publisher
) -> None:
    queue = await broker.queue()
    targets = [("", queue)] * 10 + [("no.such.exchange", "k")] + [("", queue)] * 10
    numbered = [publisher.publish(*target, b"%d" % n, {}) for n, target in enumerate(targets)]
    async with asyncio.timeout(4):  # less than a confirm's time: all of them hear of it
        found = await outcomes(*numbered)
    assert found[10:] == [Unknown] * 11
    assert set(found[:10]) <= {type(None), Unknown}
    await publisher.publish("", queue, b"next", {})
    stored = await bodies(broker, queue)
    assert set(stored) <= {b"%d" % n for n in range(10)} | {b"next"}
    assert {b"%d" % n for n, one in enumerate(found) if one is type(None)} < set(stored)
    assert link.epoch == 1


async def test_a_connection_that_dies_under_a_burst_answers_all_of_it(broker, wire, publisher, eventually) -> None:
    queue = await broker.queue()
    wire.hold_replies()
    before = wire.sent
    publishing = asyncio.gather(
        *(publisher.publish("", queue, b"x" * 1000, {}) for _ in range(50)), return_exceptions=True
    )
    await eventually(lambda: wire.sent > before + 50_000)
    await wire.cut()
    async with asyncio.timeout(4):
        assert {type(one) for one in await publishing} == {Unknown}


async def test_what_is_cancelled_before_it_leaves_is_not_sent_and_shifts_nobody(broker, publisher) -> None:
    queue = await broker.queue()
    targets = [queue, "nowhere", queue, "nowhere", queue]
    tasks = [asyncio.create_task(publisher.publish("", t, b"%d" % n, {})) for n, t in enumerate(targets)]
    await asyncio.sleep(0)  # all have begun, none has left
    for task in (tasks[0], tasks[1]):
        task.cancel()
    assert await outcomes(*tasks) == [
        asyncio.CancelledError, asyncio.CancelledError, type(None), Unroutable, type(None),
    ]  # fmt: skip
    assert await bodies(broker, queue) == [b"2", b"4"]


async def test_a_cancel_and_a_timeout_in_flight_harm_no_other(broker, wire, publisher, eventually) -> None:
    queue = await broker.queue()
    wire.hold_replies()
    before = wire.sent
    tasks = [
        asyncio.create_task(publisher.publish("", queue, b"%d" % n * 100, {}, timeout=0.2 if n == 3 else 5))
        for n in range(6)
    ]
    await eventually(lambda: wire.sent > before + 600)
    tasks[1].cancel()
    begin = time.monotonic()
    assert await outcomes(tasks[1], tasks[3]) == [asyncio.CancelledError, Unknown]
    assert time.monotonic() - begin < 2
    wire.release_replies()
    assert await outcomes(*(tasks[n] for n in (0, 2, 4, 5))) == [type(None)] * 4
    assert await bodies(broker, queue) == [b"%d" % n * 100 for n in range(6)]


async def test_a_full_write_queue_is_waited_for_in_order_and_within_the_time(broker, publisher) -> None:
    """The writer waits for the socket, as when a consumer of the same connection acks faster than it takes."""
    queue = await broker.queue()
    channel = channel_of(publisher)
    real, narrow = channel.write_queue, asyncio.Queue[ChannelFrame](maxsize=1)
    narrow.put_nowait(ChannelFrame(payload=b"", should_close=False))
    channel.write_queue = narrow
    hurried = asyncio.create_task(publisher.publish("", queue, b"hurried", {}, timeout=0.05))
    first = asyncio.create_task(publisher.publish("", queue, b"first", {}))
    assert await outcomes(hurried) == [NotConnected]
    second = asyncio.create_task(publisher.publish("", queue, b"second", {}))
    await asyncio.sleep(0.05)
    assert not first.done()
    channel.write_queue = real
    assert await outcomes(first, second) == [type(None)] * 2
    assert await bodies(broker, queue) == [b"first", b"second"]


async def test_what_amqp_cannot_say_is_refused_to_its_caller_alone(broker, publisher) -> None:
    queue = await broker.queue()
    found = await outcomes(
        publisher.publish("", queue, b"1", {}),
        publisher.publish("", "k" * 256, b"2", {}),
        publisher.publish("", queue, b"3", {"odd": object()}),
        publisher.publish("", queue, b"4", {}),
    )
    assert found == [type(None), ValueError, TypeError, type(None)]
    assert await bodies(broker, queue) == [b"1", b"4"]


async def test_a_body_of_several_frames_arrives_whole(broker, publisher) -> None:
    queue = await broker.queue()
    most = channel_of(publisher).max_content_size
    sizes = [0, 1, most - 1, most, most + 1, 3 * most]
    await asyncio.gather(*(publisher.publish("", queue, bytes([65 + n]) * size, {}) for n, size in enumerate(sizes)))
    assert await bodies(broker, queue) == [bytes([65 + n]) * size for n, size in enumerate(sizes)]
