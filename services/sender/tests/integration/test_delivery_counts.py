"""What orders the holders of one parcel: each has a greater count than the holder before it."""

from collections.abc import AsyncIterator
from typing import Any

import aio_pika
import pytest

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.topology import Topology
from mailwarren.sender.incoming import Incoming

pytestmark = pytest.mark.broker


@pytest.fixture
async def connection(rabbitmq: Any) -> AsyncIterator[aio_pika.abc.AbstractConnection]:
    made = await aio_pika.connect(rabbitmq.amqp_url)
    yield made
    await made.close()


async def _take(channel: aio_pika.abc.AbstractChannel, name: str) -> tuple[Any, int]:
    """The next message, and the count that a sender sees on it."""
    queue = await channel.get_queue(name, ensure=False)
    message = None
    while message is None:
        message = await queue.get(fail=False, timeout=10)
    seen = Incoming(
        body=message.body,
        headers=message.headers,
        queue=name,
        key=message.routing_key or "",
        redelivered=bool(message.redelivered),
        owned=lambda: True,
    )
    return message, seen.count


async def test_it_grows_however_the_parcel_came_back(
    connection: aio_pika.abc.AbstractConnection, rabbitmq: Any, amqp_prefix: str
) -> None:
    """RabbitMQ 4.3 leaves a ``basic.nack`` out of ``x-delivery-count``."""
    plain = Topology(amqp_prefix).send_queue(Lane.BULK, "google")
    channel = await connection.channel()
    await channel.declare_queue(plain.name, durable=True, arguments=plain.queue_arguments)
    await channel.default_exchange.publish(aio_pika.Message(b"x", delivery_mode=2), plain.name)
    counts = []

    message, count = await _take(channel, plain.name)
    counts.append(count)
    await message.reject(requeue=True)
    message, count = await _take(channel, plain.name)
    counts.append(count)
    await message.nack(requeue=True)
    message, count = await _take(channel, plain.name)
    counts.append(count)
    await channel.close()
    lost = await aio_pika.connect(rabbitmq.amqp_url)
    message, count = await _take(await lost.channel(), plain.name)
    counts.append(count)
    await lost.close()
    message, count = await _take(await connection.channel(), plain.name)
    counts.append(count)

    assert counts == [0, 1, 2, 3, 4]
