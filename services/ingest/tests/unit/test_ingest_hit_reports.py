"""Hits are queued before their request is answered, and no answer waits long for the broker."""

import asyncio
import contextlib
import time

import pytest

from mailwarren.contracts.ids import new_id
from mailwarren.contracts.testing import TENANT
from mailwarren.contracts.tracking import Hit, HitKind, Hits
from mailwarren.ingest import hits as module
from mailwarren.ingest.hits import HitReports
from mailwarren.runtime.amqp import NotConnected


class Broker:
    """Takes messages, after ``delay``, unless it is away."""

    def __init__(self) -> None:
        self.away = False
        self.delay = 0.0
        self.got: list[tuple[int, Hits]] = []

    async def publish_hits(self, partition: int, hits: Hits) -> None:
        if self.away:
            raise NotConnected("no connection")
        await asyncio.sleep(self.delay)
        self.got.append((partition, hits))

    @property
    def ids(self):
        return [hit.id for _, message in self.got for hit in message.hits]


def a_hit() -> Hit:
    return Hit(new_id(), HitKind.OPENED, new_id(), new_id(), TENANT, time.time(), 1.0)


@pytest.fixture
def broker():
    return Broker()


@contextlib.asynccontextmanager
async def following(reports):
    task = asyncio.create_task(reports.follow())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_hit_is_in_the_broker_before_its_answer(broker):
    reports = HitReports(broker, within=5)
    async with following(reports):
        hit = a_hit()
        await reports.report(7, hit)
        assert broker.got == [(7, Hits((hit,)))]
        assert len(reports) == 0


async def test_hits_that_come_together_share_messages(broker):
    reports = HitReports(broker, within=5)
    found = [a_hit() for _ in range(450)]
    async with following(reports):
        await asyncio.gather(*(reports.report(number % 2, hit) for number, hit in enumerate(found)))
    assert sorted(broker.ids) == sorted(hit.id for hit in found)
    assert [len(message.hits) for _, message in broker.got] == [200, 25, 200, 25]


@pytest.mark.parametrize(("away", "delay"), [(True, 0.0), (False, 60.0)])
async def test_an_answer_does_not_wait_for_a_broker_that_is_away_or_slow(broker, away, delay):
    broker.away, broker.delay = away, delay
    reports = HitReports(broker)
    async with following(reports):
        began = time.monotonic()
        await reports.report(0, a_hit())
        assert time.monotonic() - began < 1
        assert len(reports) == 1


async def test_what_the_broker_did_not_take_is_published_when_it_is_back(broker, monkeypatch):
    monkeypatch.setattr(module, "PAUSE", 0.01)
    broker.away = True
    reports = HitReports(broker, within=0.001)
    found = [a_hit() for _ in range(3)]
    async with following(reports):
        for hit in found:
            await reports.report(1, hit)
        assert broker.got == []
        broker.away = False
        async with asyncio.timeout(5):
            while len(reports):
                await asyncio.sleep(0.005)
    assert broker.ids == [hit.id for hit in found]


async def test_the_oldest_are_given_up_when_too_many_wait(broker):
    broker.away = True
    reports = HitReports(broker, most=2, within=0.001)
    found = [a_hit() for _ in range(4)]
    for hit in found:
        await reports.report(1, hit)
    broker.away = False
    assert await reports.publish()
    assert broker.ids == [hit.id for hit in found[2:]]


async def test_what_waits_goes_out_when_the_process_ends(broker):
    reports = HitReports(broker, within=0.001)
    await reports.report(1, a_hit())
    assert broker.got == []
    assert await reports.publish()
    assert len(broker.ids) == 1
    broker.away = True
    await reports.report(1, a_hit())
    assert not await reports.publish()
    assert len(reports) == 1
