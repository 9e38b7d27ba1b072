"""Parcels that may kill senders: split, tried with an insurance, and parked with all that happened."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from mailwarren.contracts.codec import decode_parcel, encode_parcel, parcel_headers
from mailwarren.contracts.ladder import Ladder
from mailwarren.contracts.parcel import Delivery, Parcel, Wait
from mailwarren.contracts.testing import a_parcel
from mailwarren.sender.adapters.ladder import Stale
from mailwarren.sender.incoming import Finish, Incoming
from mailwarren.sender.suspects import (
    GROUP,
    MOST_BEGUN,
    MOST_SETBACKS,
    SETBACKS,
    SUSPECT_AFTER,
    Insurance,
    Suspects,
    add_setback,
    count_of,
)

LADDER = Ladder(0.01)


class Broker:
    """What a suspect parcel leads to, in order."""

    def __init__(self) -> None:
        self.happened: list[Any] = []
        self.suspects = Suspects(self, LADDER, "pod:1")  # type: ignore[arg-type]

    async def put(self, parcel: Parcel, wait: float, owned: Any) -> None:
        await asyncio.sleep(0)
        if not owned():
            raise Stale
        self.happened.append(parcel)

    async def park(self, body: bytes, headers: Any, *, queue: str, key: str, reason: str, owned: Any) -> None:
        self.happened.append((decode_parcel(body, headers), headers, reason))

    def message(self, parcel: Parcel, count: int = 0, **changes: Any) -> Incoming:
        values: dict[str, Any] = {
            "body": encode_parcel(parcel),
            "headers": parcel_headers(parcel) | {"x-delivery-count": count},
            "queue": "send.normal.h1",
            "key": "normal.h1",
            "redelivered": count > 0,
            "owned": lambda: True,
            "release": self.release,
        }
        return Incoming(**(values | changes))

    async def release(self) -> bool:
        await asyncio.sleep(0)
        self.happened.append("acked")
        return True

    async def try_one(
        self, _parcel: Parcel, _deliveries: list[Delivery], _incoming: Incoming, insurance: Insurance | None
    ) -> Finish:
        assert insurance is not None
        await insurance.take()
        await insurance.take()  # another connection
        self.happened.append("sent")
        return Finish.ACK


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.mark.parametrize(("returned", "count"), [(0, 3), (2, 1), (7, 0)])
async def test_a_parcel_that_came_back_three_times_is_split(broker: Broker, returned: int, count: int) -> None:
    parcel = replace(a_parcel(to=("a@x.test", "b@x.test", "c@x.test")), returned=returned)
    message = broker.message(parcel, count)
    assert broker.suspects.must_split(parcel, message)
    assert await broker.suspects.split(parcel, message) is Finish.ACK
    parts = broker.happened
    assert [part.deliveries for part in parts] == [(one,) for one in parcel.deliveries]
    assert {(part.returned, part.settle, part.wait, part.turn) for part in parts} == {(3, True, Wait.HOP, parcel.turn)}
    assert all("gave it to" in part.setbacks[0].reason for part in parts)
    assert not any(broker.suspects.must_split(part, broker.message(part, 5)) for part in parts)
    again = Broker()
    await again.suspects.split(parcel, again.message(parcel, count + 1))
    assert [part.id for part in again.happened] == [part.id for part in parts]
    assert len({part.id for part in parts} | {parcel.id}) == 4
    # Both copies of a mail rank alike, so the tracker lets one of them wait.
    asked = {count_of(part, broker.message(part)) for part in [*parts, *again.happened]}
    assert asked == {SUSPECT_AFTER}


async def test_a_parcel_that_came_back_twice_is_not(broker: Broker) -> None:
    parcel = a_parcel(to=("a@x.test", "b@x.test"))
    assert not broker.suspects.must_split(parcel, broker.message(parcel, SUSPECT_AFTER - 1))
    assert count_of(replace(parcel, returned=1), broker.message(parcel, 1)) == 1


async def test_a_suspect_mail_has_a_successor_before_it_is_begun(broker: Broker) -> None:
    parcel = replace(a_parcel(), returned=3)
    message = broker.message(parcel, 1)
    finish = await broker.suspects.finish(parcel, list(parcel.deliveries), message, broker.try_one)
    assert finish is Finish.RELEASED
    successor, *rest = broker.happened
    assert rest == ["acked", "sent"]
    assert (successor.begun, successor.settle, successor.id) == (1, True, parcel.id)
    assert (successor.setbacks[-1].sender, "began it" in successor.setbacks[-1].reason) == ("pod:1", True)
    # The tracker sees its holder as the one after this, and after any that gets this message again.
    assert count_of(successor, broker.message(successor)) > count_of(parcel, message)


async def test_a_mail_whose_message_cannot_be_acked_is_not_begun(broker: Broker) -> None:
    parcel = replace(a_parcel(), returned=3)

    async def lost() -> bool:
        return False

    message = broker.message(parcel, release=lost)
    finish = await broker.suspects.finish(parcel, list(parcel.deliveries), message, broker.try_one)
    assert finish is Finish.RELEASED
    (successor,) = broker.happened
    # The tracker takes the message that comes back and the successor for two copies.
    assert count_of(successor, broker.message(successor)) == count_of(parcel, broker.message(parcel, 1))


async def test_without_a_successor_a_mail_is_not_begun(broker: Broker) -> None:
    parcel = replace(a_parcel(), returned=3)
    owned = iter([True, False, False])
    message = broker.message(parcel, owned=lambda: next(owned))
    finish = await broker.suspects.finish(parcel, list(parcel.deliveries), message, broker.try_one)
    assert (finish, broker.happened) == (Finish.STALE, [])


@pytest.mark.parametrize(("begun", "most"), [(0, GROUP), (1, 1)])
async def test_those_that_somebody_died_of_are_tried_one_by_one(broker: Broker, begun: int, most: int) -> None:
    parcel = replace(a_parcel(), returned=3, begun=begun)
    inside, seen = 0, []

    async def slowly(*_: Any) -> Finish:
        nonlocal inside
        inside += 1
        seen.append(inside)
        await asyncio.sleep(0.001)
        inside -= 1
        return Finish.ACK

    message = broker.message(parcel)
    await asyncio.gather(
        *(broker.suspects.finish(parcel, list(parcel.deliveries), message, slowly) for _ in range(GROUP + 10))
    )
    assert max(seen) == most


async def test_a_poison_mail_is_parked_with_every_setback_and_a_replay_begins_anew(broker: Broker) -> None:
    parcel = replace(a_parcel(), returned=SUSPECT_AFTER)
    for _ in range(MOST_BEGUN):
        await broker.suspects.finish(parcel, list(parcel.deliveries), broker.message(parcel), broker.try_one)
        parcel = next(one for one in reversed(broker.happened) if isinstance(one, Parcel))
    broker.happened.clear()
    finish = await broker.suspects.finish(parcel, list(parcel.deliveries), broker.message(parcel), broker.try_one)
    assert finish is Finish.ACK
    ((parked, headers, reason),) = broker.happened
    assert reason.startswith(f"{MOST_BEGUN} senders began this mail")
    assert sum("pod:1: began it" in line for line in headers[SETBACKS]) == MOST_BEGUN
    assert [line.split(" ", 1)[1] for line in headers[SETBACKS]][-1] == "pod:1: parked"
    assert len(headers[SETBACKS]) == MOST_BEGUN + 1
    assert (parked.returned, parked.begun, parked.deliveries) == (0, 0, parcel.deliveries)


def test_setbacks_are_bounded() -> None:
    parcel = a_parcel()
    for number in range(MOST_SETBACKS + 5):
        parcel = replace(parcel, setbacks=add_setback(parcel, "pod:1", f"{number} " + "x" * 5000))
    assert len(parcel.setbacks) == MOST_SETBACKS
    assert parcel.setbacks[0].reason.startswith("5 ")
    assert sum(len(one.reason) for one in parcel.setbacks) < 25_000


async def test_what_a_stopping_sender_has_not_begun_goes_back(broker: Broker) -> None:
    parcel = replace(a_parcel(), returned=3)
    message = broker.message(parcel, stopping=lambda: True)
    finish = await broker.suspects.finish(parcel, list(parcel.deliveries), message, broker.try_one)
    assert (finish, broker.happened) == (Finish.REQUEUE, [])
