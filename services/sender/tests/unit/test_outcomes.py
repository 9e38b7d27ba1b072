"""Outcomes are gathered, repeated until confirmed, and bounded while they wait."""

import asyncio
from typing import Any

import pytest

from mailwarren.contracts.codec import decode_tracker
from mailwarren.contracts.events import Outcomes
from mailwarren.contracts.testing import a_parcel, an_event
from mailwarren.contracts.topology import Topology
from mailwarren.runtime.amqp import NotConnected, Unknown
from mailwarren.sender.adapters import outcomes
from mailwarren.sender.adapters.outcomes import MAX_EXPOSED, OutcomeWriter


class Broker:
    """Confirms when it is told to, or fails with what is in ``trouble`` first."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.trouble: list[Exception] = []
        self.published: list[tuple[str, int]] = []

    async def publish(self, _exchange: str, key: str, body: bytes, headers: Any) -> None:
        await self.open.wait()
        if self.trouble:
            raise self.trouble.pop(0)
        message = decode_tracker(body, headers)
        assert isinstance(message, Outcomes)
        self.published.append((key, len(message.events)))


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def writer(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> OutcomeWriter:
    monkeypatch.setattr(outcomes, "RETRY", 0.01)
    return OutcomeWriter(broker, Topology())  # type: ignore[arg-type]


def reports(writer: OutcomeWriter, count: int, partition: int = 3) -> list[asyncio.Task[None]]:
    return [asyncio.create_task(writer.report(partition, an_event(a_parcel()))) for _ in range(count)]


async def test_what_ends_together_shares_a_message_of_its_partition(broker: Broker, writer: OutcomeWriter) -> None:
    await asyncio.gather(*reports(writer, 5, 3), *reports(writer, 2, 7))
    assert sorted(broker.published) == [("3", 5), ("7", 2)]
    assert writer.exposed == 0


async def test_it_is_repeated_until_it_is_confirmed(broker: Broker, writer: OutcomeWriter) -> None:
    broker.trouble = [NotConnected("away"), Unknown("late"), NotConnected("away")]
    await asyncio.gather(*reports(writer, 3))
    assert broker.published == [("3", 3)]


async def test_too_many_unconfirmed_outcomes_hold_new_mail_back(broker: Broker, writer: OutcomeWriter) -> None:
    broker.open.clear()
    waiting = reports(writer, MAX_EXPOSED)
    await asyncio.sleep(0.02)
    assert (writer.exposed, writer.may_send()) == (MAX_EXPOSED, False)
    held = asyncio.create_task(writer.clear())
    await asyncio.sleep(0.02)
    assert not held.done()
    broker.open.set()
    await asyncio.gather(*waiting)
    await asyncio.wait_for(held, 1)
    assert writer.may_send()


async def test_an_old_unconfirmed_outcome_holds_new_mail_back(
    broker: Broker, writer: OutcomeWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "MAX_AGE", 0.05)
    broker.open.clear()
    waiting = reports(writer, 1)
    await asyncio.sleep(0.02)
    assert writer.may_send()
    await asyncio.sleep(0.06)
    assert not writer.may_send()
    broker.open.set()
    await asyncio.gather(*waiting)
    assert writer.may_send()


async def test_what_comes_while_a_message_is_on_its_way_goes_together_after_it(
    broker: Broker, writer: OutcomeWriter
) -> None:
    broker.open.clear()
    waiting = reports(writer, 1)
    for count in (2, 3, 4):
        await asyncio.sleep(0.01)  # the first has left; each of these alone would have, too
        waiting += reports(writer, count)
    others = reports(writer, 1, partition=7)
    await asyncio.sleep(0.01)
    broker.open.set()
    await asyncio.gather(*waiting, *others)
    assert [count for key, count in broker.published if key == "3"] == [1, 9]
    assert [count for key, count in broker.published if key == "7"] == [1]


async def test_who_stops_waiting_takes_no_confirm_from_others(broker: Broker, writer: OutcomeWriter) -> None:
    broker.open.clear()
    waiting = reports(writer, 3)
    await asyncio.sleep(0.02)
    waiting[1].cancel()
    await asyncio.sleep(0)
    broker.open.set()
    await asyncio.gather(waiting[0], waiting[2])
    assert broker.published == [("3", 3)]
    assert writer.exposed == 0
