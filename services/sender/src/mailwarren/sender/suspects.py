"""Parcels that may kill senders: split into parcels of one first, then tried apart, then set aside for a person.

The broker counts how often it had to give a message to another sender, and cannot say why: the sender died, or lost its
connection, and the parcel may have lain in its prefetch all the while. So a parcel that came back :data:`SUSPECT_AFTER`
times is only *suspect*, and what it is guilty of is found out mail by mail:

1. It is split: each of its mails goes on as a parcel of its own, and a poison mail takes no neighbour with it.
2. Before a suspect mail is built, its successor is put on the ladder (:class:`Insurance`): a copy that says who began
   it and when. A sender that lives finishes the mail, and the copy is settled and dropped. When it dies, the copy is
   the durable note that it began just this mail, which the broker's count is not.
3. Mails that nobody has died of yet are tried :data:`GROUP` at a time, the others one by one, so that each further
   death tells the poison from its company.
4. What :data:`MOST_BEGUN` senders began and did not finish goes to ``mail.dead``, with every setback on the way.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import structlog
from msgspec.structs import replace

from mailwarren.contracts.codec import encode_parcel, parcel_headers
from mailwarren.contracts.ids import nth_id
from mailwarren.contracts.ladder import Ladder
from mailwarren.contracts.parcel import Delivery, Parcel, Setback, Wait
from mailwarren.sender import metrics
from mailwarren.sender.adapters.ladder import LadderWriter, Stale
from mailwarren.sender.incoming import Finish, Incoming

log = structlog.get_logger()

SUSPECT_AFTER = 3
"""Deliveries of a parcel by the broker after which it is suspect."""
GROUP = 20
"""Suspect mails that a process works on at once, of those that nobody has died of yet."""
MOST_BEGUN = 3
"""Senders that began a suspect mail and did not finish it, after which it is parked."""
INSURED = 640.0
"""Seconds at scale 1 after which a suspect mail is looked at again: longer than any attempt takes, so that a sender
that lives has reported by then, and as long as the tracker lets a claim stand."""
MOST_SETBACKS = 40
"""That a parcel carries; the oldest are forgotten."""
REASON_LENGTH = 600
SETBACKS = "mw-setbacks"
"""The header of a parked message that lists them."""

Deliver = Callable[[Parcel, list[Delivery], Incoming, "Insurance | None"], Awaitable[Finish]]


def is_suspect(parcel: Parcel, incoming: Incoming) -> bool:
    """Whether it came back so often that a mail in it may kill senders."""
    return parcel.returned + incoming.count >= SUSPECT_AFTER


def count_of(parcel: Parcel, incoming: Incoming) -> int:
    """The count that a question to the tracker names: of a suspect mail it goes on from message to message.

    So a holder is known as the next one after the holder that died, and its claim passes at once.
    """
    return incoming.count + (parcel.returned if is_suspect(parcel, incoming) else 0)


def add_setback(parcel: Parcel, sender: str, reason: str) -> tuple[Setback, ...]:
    """The parcel's setbacks and one more, of now."""
    return (*parcel.setbacks, Setback(time.time(), sender, reason[:REASON_LENGTH]))[-MOST_SETBACKS:]


def setback_headers(parcel: Parcel) -> dict[str, Any]:
    """For a message that is parked: each setback as a line for a person."""
    return {SETBACKS: [_line(one) for one in parcel.setbacks]} if parcel.setbacks else {}


def _line(setback: Setback) -> str:
    at = datetime.fromtimestamp(setback.at, UTC).isoformat(timespec="milliseconds")
    return f"{at} {setback.sender}: {setback.reason}"


class Insurance:
    """The successor of a suspect mail, for the case that this sender dies of it.

    Args:
        parcel: of the one mail.
        wait: seconds until it is looked at again.
        sender: who is about to begin it.
    """

    def __init__(
        self, ladder_writer: LadderWriter, parcel: Parcel, wait: float, incoming: Incoming, sender: str
    ) -> None:
        self._ladder_writer = ladder_writer
        self._parcel = parcel
        self._wait = wait
        self._incoming = incoming
        self._sender = sender
        self.taken = False

    async def take(self) -> None:
        """Return when the successor is on the ladder and the message at hand is acked. Once is enough.

        Both before the mail is begun: when this sender dies of it, there must be one copy and not two.

        Raises:
            Stale: the parcel is not ours any more.
        """
        if self.taken:
            return
        successor = replace(
            self._parcel,
            begun=self._parcel.begun + 1,
            returned=self._parcel.returned + self._incoming.count + 1,
            setbacks=add_setback(self._parcel, self._sender, "began it, and was gone before it had finished it"),
            settle=True,
            asked_at=None,
            wait=Wait.HOP,
            not_before=time.time() + self._wait,
        )
        await self._ladder_writer.put(successor, self._wait, self._incoming.owned)
        self.taken = True
        if not await self._incoming.release():
            raise Stale


class Suspects:
    """Finishes suspect parcels.

    Args:
        sender: this process, as setbacks name it.
    """

    def __init__(self, ladder_writer: LadderWriter, ladder: Ladder, sender: str) -> None:
        self._ladder_writer = ladder_writer
        self._ladder = ladder
        self._group = asyncio.Semaphore(GROUP)
        self._one = asyncio.Semaphore(1)
        self.sender = sender

    async def finish(self, parcel: Parcel, deliveries: list[Delivery], incoming: Incoming, deliver: Deliver) -> Finish:
        """Try the one mail of a suspect parcel with an insurance, or park it.

        Raises:
            Stale: it is not ours any more.
        """
        if parcel.begun >= MOST_BEGUN:
            return await self._park(parcel, incoming)
        async with self._one if parcel.begun else self._group:
            if not incoming.owned():
                raise Stale
            if incoming.stopping():
                return Finish.REQUEUE
            wait = self._ladder.round_wait(INSURED * self._ladder.scale)
            insurance = Insurance(self._ladder_writer, parcel, wait, incoming, self.sender)
            try:
                finish = await deliver(parcel, deliveries, incoming, insurance)
            except Stale:
                finish = Finish.STALE
            return Finish.RELEASED if insurance.taken else finish

    @staticmethod
    def must_split(parcel: Parcel, incoming: Incoming) -> bool:
        """Whether a parcel is suspect, and its mails do not go on apart yet."""
        return is_suspect(parcel, incoming) and (len(parcel.deliveries) > 1 or parcel.returned < SUSPECT_AFTER)

    async def split(self, parcel: Parcel, incoming: Incoming) -> Finish:
        """Put each mail on the ladder as a parcel of its own, to be settled: what is done is found out there.

        Raises:
            Stale: it is not ours any more.
        """
        deliveries = [one for one in parcel.deliveries if not one.suppressed]
        returned = parcel.returned + incoming.count
        log.warning("sender.parcel.split", returned=returned, count=len(deliveries))
        why = f"the broker gave it to {returned} senders that were gone before they had finished it; split"
        setbacks = add_setback(parcel, self.sender, why)
        wait = self._ladder.accuracy
        alone = replace(
            parcel,
            # Not the true count: when a sender dies in the middle of this, the parcel is split once more, and the
            # tracker must see the second copy of a mail as a copy, not as the next holder of the first.
            returned=SUSPECT_AFTER,
            setbacks=setbacks,
            settle=True,
            asked_at=None,
            wait=Wait.HOP,
            not_before=time.time() + wait,
        )
        parts = [replace(alone, id=nth_id(parcel.id, one.id.int), deliveries=(one,)) for one in deliveries]
        await asyncio.gather(*(self._ladder_writer.put(part, wait, incoming.owned) for part in parts))
        metrics.record_split(parcel.lane)
        return Finish.ACK

    async def _park(self, parcel: Parcel, incoming: Incoming) -> Finish:
        begun = parcel.begun
        # Not the setbacks: they quote servers, who quote addresses, and a list of dead letters has none.
        reason = f"{begun} senders began this mail and were gone before they had finished it"
        log.warning("sender.parcel.poison", begun=begun)
        metrics.record_parked("poison")
        # A replay begins anew, and keeps what was learned.
        parked = replace(parcel, returned=0, begun=0, setbacks=add_setback(parcel, self.sender, "parked"))
        await self._ladder_writer.park(
            encode_parcel(parked),
            {**parcel_headers(parked), **setback_headers(parked)},
            queue=incoming.queue,
            key=incoming.key,
            reason=reason,
            owned=incoming.owned,
        )
        return Finish.ACK
