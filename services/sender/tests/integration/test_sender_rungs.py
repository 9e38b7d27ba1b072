"""A sender without its ladder would lose every deferral: it must not become ready."""

import asyncio
from typing import Any

import pytest
from kombu import Connection

from mailwarren.contracts.topology import Topology
from mailwarren.runtime.amqp import Link, Publisher
from mailwarren.sender.adapters.ladder import LadderWriter

pytestmark = pytest.mark.broker


def declare(url: str, topology: Topology) -> None:
    with Connection(url) as connection:
        channel = connection.channel()
        for exchange in topology.all_exchanges:
            exchange(channel).declare()
        for queue in topology.rung_queues:
            queue(channel).declare()


async def test_a_link_comes_up_only_when_all_rungs_of_the_time_scale_exist(rabbitmq: Any, amqp_prefix: str) -> None:
    await asyncio.to_thread(declare, rabbitmq.amqp_url, Topology(amqp_prefix, 1.0))
    other_scale = Topology(amqp_prefix, 0.01)
    link = Link(rabbitmq.amqp_url, "test")
    LadderWriter(link, Publisher(link), other_scale)
    async with link:
        await asyncio.sleep(1.0)
        assert not link.up
        await asyncio.to_thread(declare, rabbitmq.amqp_url, other_scale)
        async with asyncio.timeout(10):
            await link.wait_up()
