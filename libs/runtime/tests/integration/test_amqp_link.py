"""The link comes back, and says so to those who have to set up again."""

import asyncio
from pathlib import Path

import aio_pika
import pytest

from mailwarren.devstack.rabbitmq import RabbitMQ
from mailwarren.runtime.amqp import Link, NotConnected, Publisher, PublishError, Unknown

pytestmark = pytest.mark.broker


async def test_every_connect_runs_the_callbacks_in_order_and_counts_an_epoch(wire, eventually) -> None:
    link = Link(wire.url, "test")
    calls: list[tuple[str, int, bool]] = []
    for name in ("first", "second"):

        async def callback(_connection: aio_pika.abc.AbstractConnection, name: str = name) -> None:
            calls.append((name, link.epoch, link.up))

        link.on_up(callback)
    async with link:
        await asyncio.wait_for(link.wait_up(), 10)
        await wire.cut()
        await eventually(lambda: link.epoch == 2 and link.up)
    assert calls == [("first", 1, False), ("second", 1, False), ("first", 2, False), ("second", 2, False)]


async def test_a_callback_that_fails_is_tried_again_with_a_new_connection(wire, eventually) -> None:
    """A queue that does not exist yet is no reason to end a service."""
    link = Link(wire.url, "test")
    seen: list[aio_pika.abc.AbstractConnection] = []

    async def callback(connection: aio_pika.abc.AbstractConnection) -> None:
        seen.append(connection)
        if len(seen) < 3:
            raise RuntimeError("not yet")

    link.on_up(callback)
    async with link:
        await asyncio.wait_for(link.wait_up(), 15)
        assert link.epoch == 3
        assert [connection.is_closed for connection in seen] == [True, True, False]


async def test_a_link_without_a_broker_keeps_trying(wire, eventually) -> None:
    await wire.cut(listening=False)
    async with Link(wire.url, "test") as link:
        await asyncio.sleep(0.5)
        assert not link.up
        await wire.open()
        await eventually(lambda: link.up)
        assert link.epoch == 1


async def test_leaving_closes_the_connection_and_leaves_no_task(wire) -> None:
    before = asyncio.all_tasks()
    connections: list[aio_pika.abc.AbstractConnection] = []

    async def callback(connection: aio_pika.abc.AbstractConnection) -> None:
        connections.append(connection)

    link = Link(wire.url, "test")
    link.on_up(callback)
    async with link:
        await asyncio.wait_for(link.wait_up(), 10)
    assert not link.up
    assert [connection.is_closed for connection in connections] == [True]
    await asyncio.sleep(0.2)
    assert {task.get_name() for task in asyncio.all_tasks() - before if "amqp" in task.get_name()} == set()


async def test_a_consumer_set_up_in_a_callback_goes_on_after_a_cut(wire, rabbitmq, amqp_prefix, eventually) -> None:
    queue = f"{amqp_prefix}consumed"
    link, seen = Link(wire.url, "test"), []

    async def consume(connection: aio_pika.abc.AbstractConnection) -> None:
        channel = await connection.channel()
        source = await channel.declare_queue(queue, durable=True)

        async def take(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            seen.append((link.epoch, message.body))
            await message.ack()

        await source.consume(take)

    link.on_up(consume)
    async with link, await aio_pika.connect(rabbitmq.amqp_url) as own:
        await asyncio.wait_for(link.wait_up(), 10)
        exchange = (await own.channel()).default_exchange
        await exchange.publish(aio_pika.Message(b"one"), queue)
        await eventually(lambda: len(seen) == 1)
        await wire.cut()
        await eventually(lambda: link.epoch == 2 and link.up)
        await exchange.publish(aio_pika.Message(b"two"), queue)
        await eventually(lambda: len(seen) == 2)
    assert seen == [(1, b"one"), (2, b"two")]


async def publish_until_blocked(publisher: Publisher, link: Link) -> list[type[PublishError]]:
    """A broker with an alarm blocks a connection at its first publish: that one is unknown, the next are refused."""
    outcomes: list[type[PublishError]] = []
    for _ in range(100):
        try:
            await publisher.publish("", "stays", b"{}", {}, timeout=1)
        except PublishError as error:
            outcomes.append(type(error))
        if link.blocked:
            break
        await asyncio.sleep(0.05)
    return outcomes


@pytest.mark.slow
async def test_a_broker_that_is_killed_and_then_low_on_disk(own_rabbitmq, eventually) -> None:
    alarm = Path(own_rabbitmq.home) / "advanced.config"
    link = Link(own_rabbitmq.amqp_url, "test")
    publisher = Publisher(link)

    async def declare(connection: aio_pika.abc.AbstractConnection) -> None:
        # Again after every connect: 3.10 forgets what was declared just before a kill -9.
        await (await connection.channel()).declare_queue("stays", durable=True)

    link.on_up(declare)
    async with link:
        await asyncio.wait_for(link.wait_up(), 30)
        await publisher.publish("", "stays", b"{}", {})

        await asyncio.to_thread(own_rabbitmq.kill)
        await eventually(lambda: not link.up)
        with pytest.raises(NotConnected):
            await publisher.publish("", "stays", b"{}", {})

        if isinstance(own_rabbitmq, RabbitMQ):
            alarm.write_text("[{rabbit, [{disk_free_limit, 1000000000000000}]}].\n")
            await asyncio.to_thread(own_rabbitmq.start)
            await eventually(lambda: link.up, within=30)
            outcomes = await publish_until_blocked(publisher, link)
            assert link.blocked
            assert set(outcomes) <= {Unknown, NotConnected}
            with pytest.raises(NotConnected):
                await publisher.publish("", "stays", b"{}", {})
            alarm.unlink()
            await asyncio.to_thread(own_rabbitmq.kill)
            await eventually(lambda: not link.up)

        epoch = link.epoch
        await asyncio.to_thread(own_rabbitmq.start)
        await eventually(lambda: publisher.ready, within=30)
        assert link.epoch > epoch
        await publisher.publish("", "stays", b"{}", {})


async def test_a_consumer_that_the_broker_cancels_is_set_up_again(rabbitmq, eventually) -> None:
    link = Link(rabbitmq.amqp_url, "test")
    queues: list[str] = []

    async def consume(connection: aio_pika.abc.AbstractConnection) -> None:
        channel = await link.consumer_channel(connection)
        queue = await channel.declare_queue(exclusive=True)

        async def ignore(_message: aio_pika.abc.AbstractIncomingMessage) -> None:
            """Nothing comes."""

        await queue.consume(ignore, no_ack=True)
        queues.append(queue.name)
        if len(queues) == 1:
            deleting = await connection.channel()
            await (await deleting.get_queue(queue.name)).delete(if_unused=False)

    link.on_up(consume)
    async with link:
        await eventually(lambda: link.epoch == 2 and link.up)
    assert len(queues) == 2


async def test_leaving_ends_the_link_at_whatever_moment_of_connecting_it_comes() -> None:
    """A cancel that meets a refused connection can be lost inside the client library."""

    async def leave_after(seconds: float) -> None:
        async with Link("amqp://x:y@127.0.0.1:9/", "test"):
            await asyncio.sleep(seconds)

    async with asyncio.timeout(15):
        await asyncio.gather(*(leave_after(0.9 * number / 300) for number in range(300)))
