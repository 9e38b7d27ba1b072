"""The slots of one site in this process: how many it wants, which it may use, when it gives them back (ADR 0024)."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from aio_pika.abc import AbstractConnection, AbstractIncomingMessage

from mailwarren.contracts.shaping import Token
from mailwarren.contracts.topology import Topology
from mailwarren.runtime.amqp import is_lost
from mailwarren.sender.adapters.slot_queue import HeldToken, NoQueue, Others, SlotQueue
from mailwarren.sender.domain.in_force import InForce

LOOK_EVERY = 0.5
"""Seconds between two looks at who else waits, while slots are held."""
TURN_SECONDS = 5.0
TURN_MAILS = 100
"""After so long, or so many mails, a slot goes to whoever waits for one."""
UNUSED = 1.0
"""Seconds after which slots that nothing is done with go back."""
RESTED = 5.0
"""Seconds that the high lane's connections may rest while other lanes wait."""
WIND_DOWN = 2.0
"""Seconds before a new plan is valid in which nothing is begun that it would not allow."""
AGAIN_AFTER = 1.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Use:
    """What a site does here: slots taken, connections at rest, mails that wait, mails begun so far, a limited rate."""

    used: int = 0
    idle: int = 0
    backlog: int = 0
    begun: int = 0
    paced: bool = False


class SlotHolder:
    """Holds tokens while they are of use. One task runs it.

    Args:
        high: This sender serves the high lane.
        use: What the site does here now.
        changed: Called when :attr:`allowed` may be another number.
        connection: The broker connection; None without one.
    """

    def __init__(
        self,
        site: str,
        topology: Topology,
        in_force: InForce,
        *,
        high: bool,
        use: Callable[[], Use],
        changed: Callable[[], None],
        connection: Callable[[], AbstractConnection | None],
    ) -> None:
        self.site = site
        self.missing = False
        """The broker has no slots for this site."""
        self._in_force = in_force
        self._high = high
        self._use = use
        self._changed = changed
        self._connection = connection
        self._queue = SlotQueue(topology, site, self._came, self._lost, high)
        self._held: list[HeldToken] = []
        self._giving = 0
        """Slots that are to go back as soon as their connections are closed."""
        self._last_begun = 0
        self._begun_at = 0.0
        self._needed_at = 0.0
        self._others = Others()
        self._asked_at = 0.0
        self._event = asyncio.Event()

    # --- what others ask ---

    @property
    def allowed(self) -> int:
        """Connections that this process may have."""
        now = time.time()
        usable = len(self._usable(now))
        coming = self._in_force.coming(self.site, now)
        if coming is not None and coming.valid_from - now <= WIND_DOWN:
            usable = min(usable, sum(one.token.generation == coming.generation for one in self._held))
        return max(0, usable - self._giving)

    @property
    def of(self) -> int:
        """Of how many connections :attr:`allowed` is a part."""
        now = time.time()
        plan = self._in_force.plan(self.site, now)
        return self._most(plan.connections if plan is not None else 1, now)

    def nudge(self) -> None:
        """Something has changed: look at once."""
        self._event.set()

    # --- the task ---

    async def run(self) -> None:
        """Look for ever: at each nudge, and from time to time while slots are held."""
        while True:
            try:
                await self._look()
            except NoQueue:
                self._without_queue()
            except Exception as error:
                if not is_lost(error):
                    raise
                log.info("sender.slots.interrupted", site=self.site, error=f"{type(error).__name__}: {error}")
                await self._drop()
                await asyncio.sleep(AGAIN_AFTER)
            try:
                async with asyncio.timeout(LOOK_EVERY if self._held or self._use().backlog else 60.0):
                    await self._event.wait()
            except TimeoutError:
                pass
            self._event.clear()

    async def close(self) -> None:
        """Give everything back."""
        await self._drop()

    async def _look(self) -> None:
        now, use = time.time(), self._use()
        if not self._held and not use.backlog:
            await self._queue.want(0)
            return
        if not self._queue.open and not await self._connect():
            return
        await self._discard(now)
        needed = self._needed(use, now)
        lacking = needed - len(self._usable(now)) + self._giving
        coming = self._in_force.coming(self.site, now)
        if coming is not None:
            lacking = max(lacking, needed - sum(one.token.generation == coming.generation for one in self._held))
        if self._held:
            await self._ask()
            self._plan_return(use, needed, now)
            lacking = 0 if self._giving else lacking
        await self._queue.want(max(0, lacking))
        self._changed()
        await self._return()

    async def _connect(self) -> bool:
        connection = self._connection()
        if connection is None:
            return False
        await self._queue.connect(connection)
        self.missing = False
        return True

    # --- decisions ---

    def _needed(self, use: Use, now: float) -> int:
        """Slots that would be of use."""
        if self._in_force.site(self.site, now).suspended is not None:
            return 0
        plan = self._in_force.plan(self.site, now)
        most = self._most(plan.connections if plan is not None else 1, now)
        if use.paced and use.backlog:
            return most  # each is worth its part of the rate
        return min(most, use.used + use.backlog)

    async def _ask(self) -> None:
        loop_now = asyncio.get_running_loop().time()
        if loop_now - self._asked_at >= LOOK_EVERY:
            self._asked_at = loop_now
            self._others = await self._queue.others()

    def _plan_return(self, use: Use, needed: int, now: float) -> None:
        """Decide how many slots are to go back."""
        loop_now, others = asyncio.get_running_loop().time(), self._others
        if use.begun != self._last_begun:
            self._last_begun, self._begun_at = use.begun, loop_now
        usable = self._usable(now)
        if needed >= len(usable):
            self._needed_at = loop_now
        wanted = others.any + others.high
        rested = RESTED if self._high and not others.high else 0.0
        if self._giving:
            return
        if len(usable) > needed and (wanted or loop_now - self._needed_at >= UNUSED):
            self._giving = len(usable) - needed
        elif others.high and not self._high:
            self._giving = min(others.high, len(usable))
        elif wanted and not use.backlog and use.idle and loop_now - self._begun_at >= rested:
            self._giving = min(wanted, use.idle)
        elif others.any:
            mails = TURN_MAILS * max(1, len(usable))
            over = [one for one in usable if loop_now - one.taken_at >= TURN_SECONDS or use.begun - one.begun >= mails]
            beyond = len(usable) - self.of // (others.any + 1)
            self._giving = max(0, min(others.any, len(over), beyond))
        if self._giving:
            self._others = Others()

    async def _return(self) -> None:
        """Give back what no connection uses any more: the oldest first."""
        now = time.time()
        usable = self._usable(now)
        free = min(self._giving, max(0, len(usable) - self._use().used))
        # Those that only the high lane may have come last: they are of no use to others.
        for one in sorted(usable, key=lambda held: held.taken_at)[:free]:
            self._held.remove(one)
            self._giving -= 1
            await one.message.nack(requeue=True)
        # What is of no use under an override stays out of others' way only as long as it is needed here.
        if not usable and not self._use().backlog:
            for one in self._unusable(now):
                self._held.remove(one)
                await one.message.nack(requeue=True)

    async def _discard(self, now: float) -> None:
        """Destroy tokens of plans that are over."""
        plan = self._in_force.plan(self.site, now)
        for one in list(self._held):
            if plan is not None and one.token.generation < plan.generation:
                self._held.remove(one)
                await one.message.ack()

    # --- tokens ---

    def _came(self, token: Token, message: AbstractIncomingMessage) -> None:
        loop_now = asyncio.get_running_loop().time()
        self._held.append(HeldToken(token, message, loop_now, self._use().begun))
        self._changed()
        self.nudge()

    def _lost(self) -> None:
        self._held.clear()
        self._giving = 0
        self._changed()
        self.nudge()

    async def _drop(self) -> None:
        self._held.clear()
        self._giving = 0
        self._changed()
        await self._queue.close()

    def _without_queue(self) -> None:
        if not self.missing:
            self.missing = True
            log.warning("sender.slots.no_queue", site=self.site, cure="mailwarren topology apply --shaping FILE")
            self._changed()

    def _usable(self, now: float) -> list[HeldToken]:
        plan = self._in_force.plan(self.site, now)
        if plan is None:
            return []
        most = self._most(plan.connections, now)
        return [one for one in self._held if one.token.generation == plan.generation and one.token.index < most]

    def _unusable(self, now: float) -> list[HeldToken]:
        usable = self._usable(now)
        return [one for one in self._held if one not in usable]

    def _most(self, connections: int, now: float) -> int:
        """Connections that all senders may have together: an override takes the last ones out of use."""
        force = self._in_force.site(self.site, now)
        if force.suspended is not None:
            return 0
        if force.probed is not None:
            return 1
        return min(connections, max(1, force.connections)) if force.connections is not None else connections
