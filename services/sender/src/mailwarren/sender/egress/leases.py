"""This process's part of each day's numbers, asked for in the control log (ADR 0036)."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

import structlog

from mailwarren.contracts.egress import Reservation, day_of
from mailwarren.contracts.ids import new_id
from mailwarren.runtime.amqp import PublishError
from mailwarren.sender.domain.warmup import Counted, Reservations, part_of
from mailwarren.sender.egress import metrics

HEARD_WITHIN = 5.0
"""Seconds in which what is written into the log is read from it, or the broker is away."""
AGAIN_AFTER = 2.0
"""Seconds after a question that was not heard in which no other is asked."""
IDLE = 30.0
"""Seconds after which a part that no mail takes from is given back."""

log = structlog.get_logger()


@dataclass(slots=True)
class _Part:
    """What is left of what was granted here, when a mail last took of it, and when it may be asked for again."""

    left: int = 0
    taken_at: float = 0.0
    asking: "asyncio.Future[None] | None" = None
    again_at: float = 0.0


class Leases:
    """For one event loop.

    Args:
        me: This process.
        write: Puts an entry into the control log.
        clock: Unix time.
        heard_within: Seconds.
    """

    def __init__(
        self,
        me: UUID,
        write: Callable[[Reservation], Awaitable[None]],
        *,
        clock: Callable[[], float] = time.time,
        heard_within: float = HEARD_WITHIN,
    ) -> None:
        self._me = me
        self._write = write
        self._clock = clock
        self._heard_within = heard_within
        self._given = Reservations()
        self._parts: dict[Counted, _Part] = {}

    @property
    def today(self) -> int:
        """The UTC day."""
        return day_of(self._clock())

    def taken(self, key: Counted) -> int:
        """Mails that all senders have taken of a day's number."""
        return self._given.taken(key)

    def of_today(self) -> dict[tuple[str, str], int]:
        """The same for today, by egress and site."""
        return self._given.of_day(self.today)

    def heard(self, entry: Reservation) -> None:
        """An entry of the control log: anybody's."""
        given = self._given.apply(entry, self.today)
        if entry.sender != self._me or entry.count < 0:
            return
        key = entry.egress, entry.site, entry.day
        part = self._parts.get(key)
        if given:
            part = self._parts.setdefault(key, part or _Part())
            part.left += given
            part.taken_at = self._clock()
        metrics.record_reservation("granted" if given else "none_left")
        if part is not None and part.asking is not None and not part.asking.done():
            part.asking.set_result(None)

    async def take(self, key: Counted, most: int) -> bool:
        """Take one mail of a day's number, which is ``most``; False when there is none left, or nobody can tell."""
        while True:
            part = self._parts.get(key)
            if part is not None and part.left:
                part.left -= 1
                part.taken_at = self._clock()
                return True
            if self.taken(key) >= most or not await self._ask(key, most):
                return False

    def give_back(self, key: Counted) -> None:
        """The mail was not sent."""
        if key[2] >= self.today:
            self._parts.setdefault(key, _Part()).left += 1

    async def look(self) -> None:
        """Give back what nobody uses here, and forget the days that are over."""
        now = self._clock()
        self._parts = {key: part for key, part in self._parts.items() if key[2] >= self.today or part.asking}
        await self._return([key for key, part in self._parts.items() if part.left and now - part.taken_at >= IDLE])

    async def close(self) -> None:
        """Give everything back."""
        await self._return([key for key, part in self._parts.items() if part.left])

    async def _ask(self, key: Counted, most: int) -> bool:
        """Ask for a part, one question at a time; whether it was heard of."""
        part = self._parts.setdefault(key, _Part())
        if part.asking is not None:
            other = part.asking
            heard, _ = await asyncio.wait([other], timeout=self._heard_within)
            return bool(heard) and not other.cancelled()
        loop = asyncio.get_running_loop()
        if loop.time() < part.again_at:
            return False
        egress, site, day = key
        part.asking = asking = loop.create_future()
        try:
            async with asyncio.timeout(self._heard_within):
                await self._write(Reservation(new_id(), self._me, egress, site, day, part_of(most), most))
                await asking
        except (TimeoutError, PublishError) as error:
            # What the log has of it all the same is heard later, and is then ours.
            part.again_at = loop.time() + AGAIN_AFTER
            metrics.record_reservation("unheard")
            log.warning("sender.egress.unheard", egress=egress, site=site, error=str(error) or "not read in time")
            return False
        else:
            return True
        finally:
            part.asking = None
            if not asking.done():
                asking.cancel()

    async def _return(self, keys: list[Counted]) -> None:
        for key in keys:
            part = self._parts[key]
            left, part.left = part.left, 0
            egress, site, day = key
            try:
                await self._write(Reservation(new_id(), self._me, egress, site, day, -left, left))
            except PublishError as error:
                # Lost until the day is over: nobody sends more for it.
                log.info("sender.egress.not_returned", egress=egress, site=site, count=left, error=str(error))
