"""What is to be tried again: when, on which rung, or not any more (DESIGN §5)."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import structlog
from msgspec.structs import replace

from mailwarren.contracts.events import Event, Kind
from mailwarren.contracts.ids import new_id
from mailwarren.contracts.ladder import Ladder
from mailwarren.contracts.parcel import SHAPED_WAIT, Delivery, Parcel, Wait
from mailwarren.sender import metrics
from mailwarren.sender.adapters.control_log import ControlLog
from mailwarren.sender.adapters.ladder import LadderWriter
from mailwarren.sender.adapters.outcomes import OutcomeWriter
from mailwarren.sender.copies import Copies
from mailwarren.sender.domain.retry import POLICIES, deadline, plan_retry
from mailwarren.sender.events import make_event
from mailwarren.sender.suspects import add_setback
from mailwarren.sender.transmit import Tried

log = structlog.get_logger()

UNWANTED = "the address was put on the suppression list, or unsubscribed, after the mail was accepted"
LACKING_AGAIN = 20.0
"""Seconds on the ladder before attachments or keys are asked for once more, at scale 1."""
TOLD_REPLIES = 3
"""Different replies that a setback quotes."""


@dataclass(frozen=True, slots=True)
class WithoutFiles:
    """A delivery whose attachments cannot be fetched now."""

    delivery: Delivery
    reason: str


@dataclass(frozen=True, slots=True)
class Shaped:
    """A delivery that waits for a site's limits, for so many seconds on the ladder."""

    delivery: Delivery
    site: str
    wait: float


class Deferrals:
    """Puts deliveries on the ladder, and reports those whose time has run out.

    Args:
        sender: the name of this one.
        control: knows what is not wanted any more.
    """

    def __init__(
        self,
        outcomes: OutcomeWriter,
        ladder_writer: LadderWriter,
        ladder: Ladder,
        copies: Copies,
        *,
        sender: str,
        control: ControlLog,
    ) -> None:
        self._outcomes = outcomes
        self._ladder_writer = ladder_writer
        self._ladder = ladder
        self._copies = copies
        self._sender = sender
        self._control = control

    def deadline(self, parcel: Parcel) -> float:
        """When the parcel's budget ends, in seconds since the epoch."""
        return deadline(POLICIES[parcel.lane], parcel.accepted_at, parcel.expires_at, self._ladder.scale)

    def ended(self, parcel: Parcel, delivery: Delivery) -> Event | None:
        """What became of a delivery that is not to be tried (any more); None: it is."""
        if (event := self._foregone(parcel, delivery)) is not None:
            return event
        if time.time() >= self.deadline(parcel):
            return make_event(parcel, delivery, Kind.EXPIRED, tried=delivery.last, reason="its time ran out")
        return None

    def _foregone(self, parcel: Parcel, delivery: Delivery) -> Event | None:
        """The same, of one that nobody wants any more."""
        if self._control.is_withdrawn(parcel, delivery):
            return make_event(parcel, delivery, Kind.CANCELED)
        if self._control.is_unwanted(parcel, delivery):
            return make_event(parcel, delivery, Kind.SUPPRESSED, reason=UNWANTED)
        return None

    async def defer(self, parcel: Parcel, deferred: Sequence[Tried], owned: Callable[[], bool]) -> None:
        """Put what is to be tried again on the ladder, one parcel for each distinct wait; report what gives up.

        Raises:
            Stale: the parcel is not ours any more.
        """
        groups: dict[float, list[Tried]] = {}
        reports = []
        for tried in deferred:
            wait = self._wait_after(parcel, tried)
            if wait is None:
                reason = f"no time left for attempt {parcel.attempt + 1}"
                event = make_event(parcel, tried.delivery, Kind.EXPIRED, tried=tried.attempt, reason=reason)
                reports.append(self._outcomes.report(parcel.partition, event))
            else:
                groups.setdefault(wait, []).append(tried)
        await asyncio.gather(*reports)
        for wait, together in groups.items():
            deliveries = [replace(tried.delivery, last=tried.attempt) for tried in together]
            again = replace(
                parcel,
                id=parcel.id if len(groups) == 1 else new_id(),
                deliveries=tuple(deliveries),
                attempt=parcel.attempt + 1,
                settle=False,
                turn=0,
                asked_at=None,
                shaped=0,
                returned=0,
                begun=0,
                setbacks=add_setback(parcel, self._sender, _why(parcel, together)),
                wait=Wait.DEFERRED,
                not_before=time.time() + wait,
            )
            await self._ladder_writer.put(again, wait, owned)
            for delivery in deliveries:
                self._copies.finish((delivery.id, parcel.attempt))
                metrics.record_events([make_event(parcel, delivery, Kind.DEFERRED, tried=delivery.last)])

    async def shape(self, parcel: Parcel, shaped: Sequence[Shaped], owned: Callable[[], bool]) -> None:
        """Put what waits for limits on the ladder, one parcel for each site: nothing was tried, so no attempt is lost.

        A crash after this may bring the mails twice, on the ladder and where they are now, so they are settled then.

        Raises:
            Stale: the parcel is not ours any more.
        """
        groups: dict[str, list[Shaped]] = {}
        for one in shaped:
            groups.setdefault(one.site, []).append(one)
        for ones in groups.values():
            wait = self._ladder.round_wait(max(one.wait for one in ones))
            waiting = replace(
                parcel,
                id=new_id(),
                deliveries=tuple(one.delivery for one in ones),
                settle=True,
                turn=parcel.turn + 1,
                shaped=parcel.shaped + 1,
                wait=SHAPED_WAIT,
                not_before=time.time() + wait,
            )
            await self._ladder_writer.put(waiting, wait, owned)

    async def wait_for_files(self, parcel: Parcel, without: Sequence[WithoutFiles], owned: Callable[[], bool]) -> None:
        """Put mail whose attachments cannot be fetched now on the ladder; it costs no attempt. Report what gives up.

        Raises:
            Stale: the parcel is not ours any more.
        """
        lacking = [(one.delivery, f"its attachments could not be fetched in time: {one.reason}") for one in without]
        if await self._wait_for(Wait.ATTACHMENTS, parcel, lacking, owned):
            log.warning("sender.attachments.away", reason=without[0].reason, count=len(without))

    async def wait_for_keys(
        self, parcel: Parcel, deliveries: Sequence[Delivery], why: str, owned: Callable[[], bool]
    ) -> None:
        """The same for mail whose DKIM keys cannot be had now. What nobody wants any more needs none.

        Raises:
            Stale: the parcel is not ours any more.
        """
        foregone = {one.id: event for one in deliveries if (event := self._foregone(parcel, one)) is not None}
        await asyncio.gather(*(self._outcomes.report(parcel.partition, event) for event in foregone.values()))
        for ident in foregone:
            self._copies.finish((ident, parcel.attempt))
        deliveries = [one for one in deliveries if one.id not in foregone]
        if not deliveries:
            return
        late = f"the DKIM keys of {parcel.content.signing} could not be had in time: {why}"
        if await self._wait_for(Wait.KEYS, parcel, [(one, late) for one in deliveries], owned):
            log.warning("sender.dkim.mail_waits", domain=parcel.content.signing, reason=why, count=len(deliveries))

    async def _wait_for(
        self, lack: Wait, parcel: Parcel, lacking: Sequence[tuple[Delivery, str]], owned: Callable[[], bool]
    ) -> bool:
        """Put deliveries on the ladder, or with no time left report each with its reason; returns whether they wait."""
        now = time.time()
        wait = self._ladder.round_wait(LACKING_AGAIN * self._ladder.scale)
        if now + wait >= self.deadline(parcel):
            await asyncio.gather(*(self._give_up(parcel, delivery, late) for delivery, late in lacking))
            return False
        again = replace(
            parcel,
            id=new_id(),
            deliveries=tuple(delivery for delivery, _ in lacking),
            # This sender may hold the tracker's claim; the next holder gets it by its higher turn.
            settle=True,
            turn=parcel.turn + 1,
            asked_at=None,
            wait=lack,
            not_before=now + wait,
        )
        await self._ladder_writer.put(again, wait, owned)
        return True

    async def _give_up(self, parcel: Parcel, delivery: Delivery, reason: str) -> None:
        event = make_event(parcel, delivery, Kind.EXPIRED, tried=delivery.last, reason=reason)
        await self._outcomes.report(parcel.partition, event)
        self._copies.finish((delivery.id, parcel.attempt))

    def _wait_after(self, parcel: Parcel, tried: Tried) -> float | None:
        scale = self._ladder.scale
        now = time.time()
        until = self.deadline(parcel)
        # One dice for a parcel and attempt: its deliveries stay together on the ladder.
        rng = Random(f"{parcel.id}{parcel.attempt}")
        wait = plan_retry(
            POLICIES[parcel.lane],
            attempt=parcel.attempt,
            now=now,
            until=until,
            scale=scale,
            rng=rng,
            hint=tried.retry_in,
        )
        if wait is None:
            return None
        rounded = self._ladder.round_wait(wait)
        # Rounding up may not carry a mail past its end.
        return rounded if now + rounded < until else None


def _why(parcel: Parcel, together: Sequence[Tried]) -> str:
    """What the servers said to the mails that are to be tried again, the most frequent first."""
    said = Counter(_said(tried) for tried in together)
    told = [f"{text} ({count} mails)" if len(together) > 1 else text for text, count in said.most_common(TOLD_REPLIES)]
    more = len(said) - len(told)
    return f"attempt {parcel.attempt}: {'; '.join(told)}" + (f"; and {more} other replies" if more else "")


def _said(tried: Tried) -> str:
    attempt = tried.attempt
    if attempt is None:
        return tried.reason or "not tried"
    if attempt.reply is None:
        return attempt.trouble or "no reply"
    return f"{attempt.reply.code} {attempt.reply.text}"[:200]
