"""Replies that two senders hear add up, and what follows is in force at both."""

import asyncio
import time
from typing import Any
from uuid import UUID

import pytest
from kombu import Connection

from mailwarren.contracts.shaping import Override
from mailwarren.contracts.topology import Topology
from mailwarren.runtime.amqp import Link, Publisher
from mailwarren.sender.domain.classify import find_rule
from mailwarren.sender.rules.replies import parse_example
from mailwarren.sender.settings import SenderSettings
from mailwarren.sender.wiring import ShapingParts, build_shaping, open_rules

pytestmark = pytest.mark.broker

TENANT = UUID(int=7)
SITE = "gmx"
WITHIN = 2.0


def declare(url: str, topology: Topology) -> None:
    with Connection(url) as connection:
        channel = connection.channel()
        for exchange in topology.all_exchanges:
            exchange(channel).declare()
        topology.control_log_queue(channel).declare()
        topology.keeper_queue(channel).declare()


async def test_the_third_of_three_replies_to_two_senders_limits_the_site_at_both(
    rabbitmq: Any, amqp_prefix: str
) -> None:
    topology = Topology(f"{amqp_prefix}actions.")
    await asyncio.to_thread(declare, rabbitmq.amqp_url, topology)
    settings = SenderSettings(resolver="127.0.0.1:9")
    rules = open_rules(settings)
    links = [Link(rabbitmq.amqp_url, f"sender{number}") for number in range(2)]
    first, second = (
        build_shaping(settings, topology, link, Publisher(link), rules=rules, fleet="", names=()) for link in links
    )

    def tell(process: ShapingParts, number: int) -> None:
        reply = parse_example(f"connect 421 Too many connections, {number}")
        rule = find_rule(reply, rules.replies, SITE)
        assert rule is not None
        assert rule.action is not None
        process.automation.seen(rule, SITE, TENANT, reply)

    def in_force(process: ShapingParts) -> list[Override]:
        return list(process.shares.in_force.overrides(time.time()))

    async with links[0], links[1]:
        for link in links:
            await link.wait_up()
        tell(first, 1)
        tell(second, 2)
        await asyncio.sleep(0.3)
        assert in_force(first) == in_force(second) == []
        began = time.monotonic()
        tell(second, 3)
        async with asyncio.timeout(10):
            while not (in_force(first) and in_force(second)):
                await asyncio.sleep(0.01)
        assert time.monotonic() - began < WITHIN
        await asyncio.sleep(0.3)  # whatever either has written is read by both
        (one,), (other,) = in_force(first), in_force(second)
        assert one == other
        assert (one.name, one.connections, one.suspend, one.cause) == (SITE, 1, False, "rule:rate_limited")
        assert one.until - one.since == pytest.approx(1800)
    for process in (first, second):
        await process.pool.close(1.0)
        await process.shares.close()
