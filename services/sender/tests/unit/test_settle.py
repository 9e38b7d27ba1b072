"""What a sender does with the tracker's answer, and without one."""

import time
from typing import Any

import pytest

from mailwarren.contracts.events import Kind
from mailwarren.contracts.ladder import Ladder
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.parcel import Delivery, OnUnknown, Parcel, Wait
from mailwarren.contracts.settle import Verdict
from mailwarren.contracts.testing import a_parcel
from mailwarren.sender.settle import Settler

ADDRESSES = ("a@x.test", "b@x.test", "c@x.test")


class ScriptedAsker:
    """Answers what the test says; None is silence."""

    def __init__(self, *verdicts: Verdict | None) -> None:
        self.verdicts = None if None in verdicts else tuple(v for v in verdicts if v is not None)
        self.asked: list[int] = []

    async def ask(self, parcel: Parcel, deliveries: list[Delivery], count: int) -> tuple[Verdict, ...] | None:
        self.asked.append(count)
        return self.verdicts


def settler(asker: ScriptedAsker, connected_for: float = 3600.0) -> Settler:
    patience = {Lane.HIGH: 60.0}
    return Settler(asker, Ladder(0.01), lambda lane: patience.get(lane, 900.0), lambda: connected_for)  # type: ignore[arg-type]


async def settle(parcel: Parcel, *verdicts: Verdict | None) -> Any:
    return await settler(ScriptedAsker(*verdicts)).settle(parcel, list(parcel.deliveries), 1, lambda: True)


async def test_done_is_dropped_and_untouched_is_sent() -> None:
    parcel = a_parcel(to=ADDRESSES)
    found = await settle(parcel, Verdict.DONE, Verdict.UNTOUCHED, Verdict.DONE)
    assert found.untouched == [parcel.deliveries[1]]
    assert found.events == []
    assert found.put_back is None


@pytest.mark.parametrize(
    ("on_unknown", "sent", "kind"),
    [(OnUnknown.RESEND, 1, None), (OnUnknown.HOLD, 0, Kind.HELD), (OnUnknown.FAIL, 0, Kind.FAILED)],
)
async def test_started_follows_on_unknown(on_unknown: OnUnknown, sent: int, kind: Kind | None) -> None:
    found = await settle(a_parcel(on_unknown=on_unknown), Verdict.STARTED)
    assert len(found.untouched) == sent
    assert [event.kind for event in found.events] == ([kind] if kind else [])


async def test_canceled_is_reported_and_not_sent() -> None:
    found = await settle(a_parcel(), Verdict.CANCELED)
    assert (found.untouched, [event.kind for event in found.events]) == ([], [Kind.CANCELED])


async def test_silence_puts_the_parcel_back_to_ask_again() -> None:
    parcel = a_parcel(to=ADDRESSES)
    found = await settle(parcel, None)
    back = found.put_back
    assert back is not None
    assert (back.wait, back.turn, back.attempt, back.settle) == (Wait.UNSETTLED, 1, 1, True)
    assert back.asked_at is not None
    assert back.deliveries == parcel.deliveries
    assert found.untouched == []
    assert found.wait > 0


@pytest.mark.parametrize(
    ("lane", "silent_for", "sent"), [(Lane.HIGH, 61, True), (Lane.HIGH, 59, False), (Lane.BULK, 61, False)]
)
async def test_patience_ends_by_lane(lane: Lane, silent_for: float, sent: bool) -> None:
    parcel = a_parcel(lane=lane, asked_at=time.time() - silent_for)
    found = await settle(parcel, None)
    assert bool(found.untouched) is sent
    assert (found.put_back is None) is sent


@pytest.mark.parametrize("on_unknown", [OnUnknown.HOLD, OnUnknown.FAIL])
async def test_patience_never_ends_for_mail_that_must_not_double(on_unknown: OnUnknown) -> None:
    found = await settle(a_parcel(on_unknown=on_unknown, asked_at=1.0), None)
    assert found.untouched == []
    assert found.put_back is not None


async def test_claimed_deliveries_wait_and_the_others_go_on() -> None:
    parcel = a_parcel(to=ADDRESSES)
    found = await settle(parcel, Verdict.CLAIMED, Verdict.UNTOUCHED, Verdict.DONE)
    assert found.untouched == [parcel.deliveries[1]]
    assert found.put_back is not None
    assert found.put_back.deliveries == (parcel.deliveries[0],)
    assert (found.put_back.wait, found.put_back.turn) == (Wait.CLAIMED, 0)


async def test_a_claim_that_never_ends_passes_when_patience_does() -> None:
    found = await settle(a_parcel(asked_at=time.time() - 901), Verdict.CLAIMED)
    assert found.put_back is not None
    assert found.put_back.turn == 1


async def test_after_a_reconnect_the_others_outcomes_get_a_moment() -> None:
    asker = ScriptedAsker(Verdict.DONE)
    began = time.monotonic()
    parcel = a_parcel()
    await settler(asker, connected_for=0.8).settle(parcel, list(parcel.deliveries), 1, lambda: True)
    assert 0.15 < time.monotonic() - began < 0.9


async def test_a_stale_parcel_asks_nobody() -> None:
    asker = ScriptedAsker(Verdict.UNTOUCHED)
    parcel = a_parcel()
    found = await settler(asker).settle(parcel, list(parcel.deliveries), 1, lambda: False)
    assert asker.asked == []
    assert found.untouched == []
