"""Which mails have to wait for their site, and when their turn comes."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from random import Random
from uuid import UUID

import structlog

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.parcel import Parcel
from mailwarren.contracts.shards import PROVIDERS
from mailwarren.sender.domain.waits import Climb, Slow, plan_egress_wait, plan_wait
from mailwarren.sender.incoming import Incoming
from mailwarren.sender.shaping.shares import Shares
from mailwarren.sender.shaping.waiting import Waiting, WaitingRoom
from mailwarren.sender.smtp import Site
from mailwarren.sender.smtp.sitepool import SitePool

TICK = 0.1
"""Seconds between two looks at the sites that somebody waits for."""
TICKS_MEASURED = 10
"""Ticks over which it is measured what a site serves: a second."""
LOOK_AROUND = 0.5
LINE_PER_CONNECTION = 2
"""Mails in a site's line for each connection that are no sign of slowness."""

log = structlog.get_logger()


class SlowSite(Exception):
    """The mail's turn has not come: its site is slow, or may not be sent to. Nothing was tried."""

    def __init__(self, site: str) -> None:
        super().__init__(site)
        self.site = site


class NoEgress(SlowSite):
    """No egress is open for the mail: nothing was tried.

    Args:
        site: The mail's.
        opens: When one opens, at the latest (Unix time); None when nobody knows.
        elsewhere: Another sender of the mail's queue has one that is open.
    """

    def __init__(self, site: str, opens: float | None, *, elsewhere: bool) -> None:
        # What waits for an egress does so apart from what waits for the site.
        super().__init__(f"{site} egress")
        self.opens = opens
        self.elsewhere = elsewhere


class Shaper:
    """Says which mails have to wait, and lets them wait. For one event loop.

    Args:
        shares: The limits.
        room: Where mails wait.
        scale: Of the ladder.
    """

    def __init__(self, shares: Shares, room: WaitingRoom, scale: float) -> None:
        self._shares = shares
        self._in_force = shares.in_force
        self._room = room
        self._scale = scale
        self._samples: dict[str, deque[int]] = {}
        self._called: Counter[str] = Counter()
        shares.opened = self._give_turns_of

    # --- what a mail asks ---

    def check(self, site: Site, tenant: UUID, lane: Lane, *, turn: bool) -> None:
        """Raise :class:`SlowSite` when a mail has to wait; with ``turn`` it has waited for its turn, which has come."""
        name = site.name
        if self._in_force.tenants and self._in_force.tenant(tenant, lane, time.time()) is not None:
            raise SlowSite(name)
        if self._shares.bars(name):
            raise SlowSite(name)
        if not turn and self._shares.direct and (self._room.count(name) or self._space(name) <= 0):
            raise SlowSite(name)

    async def wait(
        self,
        slow: SlowSite,
        parcel: Parcel,
        incoming: Incoming,
        *,
        still: Callable[[], bool],
        resume: Callable[[], Awaitable[None]],
        since: float,
        until: float,
    ) -> float | bool:
        """Hold a mail whose site is slow.

        Args:
            slow: Why it waits.
            parcel: The mail's.
            incoming: Its message.
            still: False when the mail has something else to do than wait.
            resume: Returns when the mail may be worked on again.
            since: When it began to wait (the loop's clock).
            until: When its time runs out (Unix time).

        Returns:
            Whether its turn has come, or the seconds that it is to spend on the ladder.
        """
        now, loop_now, name = time.time(), asyncio.get_running_loop().time(), slow.site
        # One dice for a parcel: its mails stay together on the ladder.
        rng = Random(f"{parcel.id}{parcel.shaped}")
        if isinstance(slow, NoEgress):
            return plan_egress_wait(
                None if slow.opens is None else max(0.0, slow.opens - now),
                elsewhere=slow.elsewhere,
                lane=parcel.lane,
                shaped=parcel.shaped,
                left=until - now,
                scale=self._scale,
                rng=rng,
            )
        barred = self._in_force.tenant(parcel.tenant, parcel.lane, now)
        ends = [end for end in (barred, self._in_force.site(name, now).suspended) if end is not None]
        provider = parcel.shard in PROVIDERS and barred is None
        plan = plan_wait(
            Slow(max(ends) - now if ends else None, self._line(name)),
            provider=provider,
            lane=parcel.lane,
            shaped=parcel.shaped,
            waited=loop_now - since,
            room=self._room.has_room(name, incoming, provider=provider),
            left=until - now,
            scale=self._scale,
            rng=rng,
        )
        if isinstance(plan, Climb):
            return plan.seconds
        waiting = self._room.wait(name, Waiting(incoming, since, still), plan.seconds)
        # After this mail has entered: what nobody waits for needs no slot.
        asyncio.get_running_loop().call_soon(self._shares.nudge, name)
        turn = await waiting
        # Called, and not in the site's line yet: that counts, or more would be called than the line takes.
        self._called[name] += turn
        try:
            await resume()
        finally:
            self._called[name] -= turn
            if not self._called[name]:
                del self._called[name]
        return turn

    # --- tasks ---

    async def run(self) -> None:
        """Give turns to those who wait, and notice what begins and ends by the clock; for ever."""
        ticks = 0
        while True:
            await asyncio.sleep(TICK)
            ticks += 1
            try:
                self._shares.look()
                self._give_turns()
                if ticks % round(LOOK_AROUND / TICK) == 0:
                    self._room.look_around()
            except Exception:
                log.exception("sender.shaper.error")

    def slots_of(self, name: str) -> int:
        """Connections that this process may have to a site, for those who look at it from outside."""
        queue = self._queue(name)
        return queue.share.connections if queue is not None else 0

    @property
    def waiting(self) -> int:
        """Mails that wait for a slow site."""
        return len(self._room)

    def waiting_for(self, name: str) -> int:
        """Those of a site."""
        return self._room.count(name)

    @property
    def waited_for(self) -> tuple[str, ...]:
        """The sites that somebody waits for."""
        return self._room.sites

    # --- inside ---

    def _give_turns(self) -> None:
        for name in self._room.sites:
            queue = self._queue(name)
            samples = self._samples.setdefault(name, deque(maxlen=TICKS_MEASURED + 1))
            samples.append(queue.begun if queue is not None else 0)
            self._give_turns_of(name)
        for name in self._samples.keys() - set(self._room.sites):
            del self._samples[name]

    def _give_turns_of(self, name: str) -> None:
        if self._room.count(name) and not self._shares.bars(name):
            self._room.call(name, self._space(name) - self._called[name])

    def _queue(self, name: str) -> SitePool | None:
        return self._shares.pool.at(name) if self._shares.pool is not None else None

    def _served(self, name: str) -> int:
        """Mails that got a connection in the last second, as far as it was measured."""
        samples = self._samples.get(name)
        return max(0, samples[-1] - samples[0]) if samples else 0

    def _space(self, name: str) -> int:
        """Mails that the site's line takes without being slow: as many as are served in a second."""
        queue = self._queue(name)
        if queue is None:
            return LINE_PER_CONNECTION
        share = queue.share
        if share.rate is not None:
            return int(share.rate) + 1 - queue.waiting
        return max(LINE_PER_CONNECTION * share.connections, self._served(name)) - queue.waiting

    def _line(self, name: str) -> float:
        """Seconds that those who wait for a site will take; 0 when that is not known."""
        queue = self._queue(name)
        waiting = self._room.count(name) + (queue.waiting if queue is not None else 0)
        rate = queue.share.rate if queue is not None and queue.share.rate else self._served(name)
        return waiting / rate if rate else 0.0
