"""Settling a parcel that may have been tried before: what to send, what to report, or when to ask again."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from msgspec.structs import replace

from mailwarren.contracts.events import Event, Kind
from mailwarren.contracts.ladder import Ladder
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.parcel import Delivery, OnUnknown, Parcel, Wait
from mailwarren.contracts.settle import Verdict
from mailwarren.sender import metrics
from mailwarren.sender.adapters.questions import Asker
from mailwarren.sender.events import make_event

log = structlog.get_logger()

ASK_AGAIN = 10.0
"""Seconds on the ladder before the question is put once more, at scale 1."""
REGAIN = 1.0
"""Seconds after a lost broker connection before the first question: the others' last outcomes come first."""


@dataclass(slots=True)
class Settled:
    """What to do: send ``untouched``, report ``events``, and put ``put_back`` on the ladder for ``wait`` seconds."""

    untouched: list[Delivery] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    put_back: Parcel | None = None
    wait: float = 0.0


class Settler:
    """Asks the tracker, and knows what to do without an answer.

    Args:
        patience: seconds without an answer after which a parcel is sent unsettled, for the lane; never for mail
            whose ``on_unknown`` is ``hold`` or ``fail``.
        connected_for: seconds since the consumer's last reconnect, large when there was none.
    """

    def __init__(
        self,
        asker: Asker,
        ladder: Ladder,
        patience: Callable[[Lane], float],
        connected_for: Callable[[], float],
    ) -> None:
        self._asker = asker
        self._ladder = ladder
        self._patience = patience
        self._connected_for = connected_for

    async def settle(
        self, parcel: Parcel, deliveries: list[Delivery], count: int, owned: Callable[[], bool]
    ) -> Settled:
        """One question for all deliveries of the parcel."""
        early = REGAIN - self._connected_for()
        if early > 0:
            await asyncio.sleep(early)
        verdicts = await self._asker.ask(parcel, deliveries, count) if owned() else None
        if verdicts is None:
            return self._unanswered(parcel, deliveries)
        claimed = [one for one, verdict in zip(deliveries, verdicts, strict=True) if verdict is Verdict.CLAIMED]
        for verdict in verdicts:
            metrics.record_settle(verdict)
        settled = self._claimed(parcel, tuple(claimed)) if claimed else Settled()
        for delivery, verdict in zip(deliveries, verdicts, strict=True):
            match verdict:
                case Verdict.UNTOUCHED:
                    settled.untouched.append(delivery)
                case Verdict.STARTED:
                    self._started(parcel, delivery, settled)
                case Verdict.CANCELED:
                    settled.events.append(make_event(parcel, delivery, Kind.CANCELED))
                case Verdict.DONE | Verdict.CLAIMED:
                    pass
        return settled

    @staticmethod
    def _started(parcel: Parcel, delivery: Delivery, settled: Settled) -> None:
        match parcel.on_unknown:
            case OnUnknown.RESEND:
                settled.untouched.append(delivery)
            case OnUnknown.HOLD:
                reason = "a sender died while it was being sent; a person decides"
                settled.events.append(make_event(parcel, delivery, Kind.HELD, reason=reason))
            case OnUnknown.FAIL:
                reason = "a sender died while it was being sent; it may have arrived"
                settled.events.append(make_event(parcel, delivery, Kind.FAILED, reason=reason))

    def _unanswered(self, parcel: Parcel, deliveries: list[Delivery]) -> Settled:
        now = time.time()
        asked_at = parcel.asked_at or now
        if parcel.on_unknown is OnUnknown.RESEND and now - asked_at >= self._patience(parcel.lane):
            metrics.record_unsettled(parcel.lane, len(deliveries))
            log.warning("sender.settle.impatient", parcel_id=str(parcel.id), count=len(deliveries))
            return Settled(untouched=deliveries)
        metrics.record_settle("unanswered")
        again = replace(
            parcel, deliveries=tuple(deliveries), wait=Wait.UNSETTLED, asked_at=asked_at, turn=parcel.turn + 1
        )
        return self._back(again)

    def _claimed(self, parcel: Parcel, deliveries: tuple[Delivery, ...]) -> Settled:
        """Wait for the other holder; when patience ends, ask as a later holder, whose claim passes."""
        now = time.time()
        asked_at = parcel.asked_at or now
        patient = now - asked_at < self._patience(parcel.lane)
        again = replace(
            parcel,
            deliveries=deliveries,
            wait=Wait.CLAIMED,
            asked_at=asked_at,
            turn=parcel.turn if patient else parcel.turn + 1,
        )
        return self._back(again)

    def _back(self, parcel: Parcel) -> Settled:
        wait = self._ladder.round_wait(ASK_AGAIN * self._ladder.scale)
        return Settled(put_back=replace(parcel, not_before=time.time() + wait, settle=True), wait=wait)
