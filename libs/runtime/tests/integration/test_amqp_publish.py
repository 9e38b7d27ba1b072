"""A publish says what became of the message, against a real broker."""

import asyncio
import itertools
import time
from typing import Any

import aio_pika
import pytest
from pamqp.commands import Connection

from mailwarren.runtime import amqp
from mailwarren.runtime.amqp import Nacked, NotConnected, Publisher, Unknown, Unroutable

pytestmark = pytest.mark.broker


async def test_a_confirmed_message_is_in_its_queue(broker, publisher) -> None:
    queue = await broker.queue()
    await publisher.publish("", queue, b'{"a":1}', {"mw-version": 1})
    (message,) = await broker.messages(queue)
    assert message.body == b'{"a":1}'
    assert message.headers["mw-version"] == 1
    assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    assert (message.content_type, message.content_encoding) == ("application/json", "utf-8")


async def test_many_publishes_wait_for_their_confirms_side_by_side(broker, publisher) -> None:
    queue = await broker.queue()
    await asyncio.gather(*(publisher.publish("", queue, b"%d" % n, {}) for n in range(500)))
    bodies = [int(message.body) for message in await broker.messages(queue)]
    assert bodies == list(range(500))


async def test_a_key_without_a_queue_is_unroutable(broker, publisher) -> None:
    exchange = await broker.exchange()
    with pytest.raises(Unroutable, match=r"no queue for bulk\.h9"):
        await publisher.publish(exchange, "bulk.h9", b"{}", {})


async def test_an_unroutable_message_among_others_is_the_only_one_refused(broker, publisher) -> None:
    queue = await broker.queue()
    targets = [queue, "nowhere", queue, "nowhere", queue]
    results = await asyncio.gather(*(publisher.publish("", t, b"{}", {}) for t in targets), return_exceptions=True)
    assert [type(result) for result in results] == [type(None), Unroutable, type(None), Unroutable, type(None)]
    assert len(await broker.messages(queue)) == 3


async def test_what_may_be_lost_is_not_mandatory(publisher) -> None:
    await publisher.publish("", "the.asker.is.gone", b"{}", {}, mandatory=False)


async def test_a_full_queue_nacks_and_another_may_hold_its_copy(broker, publisher) -> None:
    """What a nack leaves behind in other queues is why an API answers ``unconfirmed`` and not ``refused``."""
    full = await broker.queue(x_max_length=1, x_overflow="reject-publish")
    roomy = await broker.queue()
    exchange = await broker.exchange(full, roomy)
    results = []
    for _ in range(10):
        results += await asyncio.gather(publisher.publish(exchange, "k", b"{}", {}), return_exceptions=True)
    assert [type(result) for result in (results[0], results[-1])] == [type(None), Nacked]
    assert {type(result) for result in results} == {type(None), Nacked}
    assert len(await broker.messages(roomy)) == 10


async def publish_for_ever(publisher: Publisher, queue: str) -> None:
    while True:
        await publisher.publish("", queue, b"{}", {})


async def test_after_a_refusal_the_next_publish_takes_a_new_channel(broker, link, publisher, monkeypatch) -> None:
    """One that met a queue between two leaders is refused for as long as the node that died is away."""
    monkeypatch.setattr(amqp, "REFUSED_RENEW", 0.0)
    monkeypatch.setattr(amqp, "REFUSED_GRACE", 0.1)
    full = await broker.queue(x_max_length=1, x_overflow="reject-publish")
    queue = await broker.queue()
    first = publisher._channel
    await publisher.publish("", queue, b"{}", {})
    assert publisher._channel is first
    with pytest.raises(Nacked):
        await publish_for_ever(publisher, full)
    await asyncio.gather(*(publisher.publish("", queue, b"{}", {}) for _ in range(20)))
    assert publisher._channel is not first
    async with asyncio.timeout(5):
        while not first.is_closed:
            await asyncio.sleep(0.02)
    await publisher.publish("", queue, b"{}", {})
    assert len(await broker.messages(queue)) == 22
    assert link.epoch == 1


async def test_a_missing_exchange_costs_that_publish_and_not_the_next(broker, link, publisher) -> None:
    """The broker closes the channel for it: before the topology is declared, and as long as it is not."""
    for _ in range(3):
        with pytest.raises((Unknown, NotConnected)):
            await publisher.publish("no.such.exchange", "k", b"{}", {})
    queue = await broker.queue()
    await asyncio.gather(*(publisher.publish("", queue, b"{}", {}) for _ in range(20)))
    assert len(await broker.messages(queue)) == 20
    assert link.epoch == 1


async def test_a_connection_that_dies_before_the_confirm_leaves_the_outcome_unknown(
    broker, wire, publisher, eventually
) -> None:
    queue = await broker.queue()
    wire.hold_replies()
    before = wire.sent
    publishing = asyncio.create_task(publisher.publish("", queue, b"x" * 1000, {}))
    await eventually(lambda: wire.sent > before + 1000)
    stored: list[Any] = []
    for _ in range(200):
        stored += await broker.messages(queue)
        if stored:
            break
        await asyncio.sleep(0.01)
    await wire.cut()
    with pytest.raises(Unknown, match="no confirm"):
        await publishing
    # And this is why it is not called an error: the broker has it.
    assert len(stored) == 1


async def test_a_confirm_that_comes_too_late_is_unknown_and_harms_no_other(broker, wire, publisher) -> None:
    queue = await broker.queue()
    wire.hold_replies()
    begin = time.monotonic()
    with pytest.raises(Unknown):
        await publisher.publish("", queue, b"late", {}, timeout=0.2)
    assert time.monotonic() - begin < 2
    wire.release_replies()
    await publisher.publish("", queue, b"next", {})
    assert [message.body for message in await broker.messages(queue)] == [b"late", b"next"]


async def test_cancelling_the_caller_cancels_and_is_not_an_outcome(broker, wire, publisher, eventually) -> None:
    queue = await broker.queue()
    wire.hold_replies()
    before = wire.sent
    publishing = asyncio.create_task(publisher.publish("", queue, b"x" * 100, {}))
    await eventually(lambda: wire.sent > before + 100)
    publishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await publishing
    wire.release_replies()
    await publisher.publish("", queue, b"next", {})


async def test_without_a_connection_a_publish_fails_at_once(broker, wire, publisher, link, eventually) -> None:
    queue = await broker.queue()
    await wire.cut(listening=False)
    await eventually(lambda: not link.up)
    assert not publisher.ready
    begin = time.monotonic()
    for _ in range(100):
        with pytest.raises(NotConnected):
            await publisher.publish("", queue, b"{}", {})
    assert time.monotonic() - begin < 2
    await wire.open()
    await eventually(lambda: publisher.ready)
    await publisher.publish("", queue, b"again", {})
    assert [message.body for message in await broker.messages(queue)] == [b"again"]


async def test_publishes_during_a_flapping_connection_each_get_one_answer(
    broker, wire, publisher, link, eventually
) -> None:
    """And everything that was confirmed is there."""
    queue = await broker.queue()
    outcomes: dict[int, type] = {}

    async def publish(number: int) -> None:
        try:
            await publisher.publish("", queue, b"%d" % number, {}, timeout=3)
            outcomes[number] = type(None)
        except (NotConnected, Unknown) as error:
            outcomes[number] = type(error)

    async def flap() -> None:
        for _ in range(3):
            await asyncio.sleep(0.15)
            await wire.cut()
        await wire.cut(listening=False)
        await eventually(lambda: NotConnected in outcomes.values())
        await wire.open()
        await asyncio.wait_for(link.wait_up(), 10)

    async def pour(flapping: asyncio.Task[None]) -> None:
        for start in itertools.count(0, 20):
            await asyncio.gather(*(publish(number) for number in range(start, start + 20)))
            await asyncio.sleep(0.005)
            if flapping.done():
                return

    flapping = asyncio.create_task(flap())
    await asyncio.gather(flapping, pour(flapping))
    stored = {int(message.body) for message in await broker.messages(queue)}
    confirmed = {number for number, outcome in outcomes.items() if outcome is type(None)}
    refused = {number for number, outcome in outcomes.items() if outcome is NotConnected}
    assert len(outcomes) == max(outcomes) + 1
    assert confirmed <= stored
    assert not refused & stored
    assert link.epoch >= 2
    assert refused


async def test_while_the_broker_blocks_publishers_a_publish_fails_at_once(
    broker, wire, publisher, link, eventually
) -> None:
    queue = await broker.queue()
    wire.say(Connection.Blocked("low on disk"))
    await eventually(lambda: link.blocked, within=2)
    assert link.up
    assert not publisher.ready
    begin = time.monotonic()
    with pytest.raises(NotConnected, match="blocks publishers"):
        await publisher.publish("", queue, b"{}", {})
    assert time.monotonic() - begin < 1
    wire.say(Connection.Unblocked())
    await eventually(lambda: publisher.ready, within=2)
    await publisher.publish("", queue, b"{}", {})
    assert len(await broker.messages(queue)) == 1
