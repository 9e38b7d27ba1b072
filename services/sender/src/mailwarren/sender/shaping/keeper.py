"""The keeper: one of the senders puts out as many slots for each site as its row allows (ADR 0024)."""

import asyncio
import time
from collections.abc import Callable

import structlog

from mailwarren.contracts.shaping import SlotPlan, Token
from mailwarren.runtime.amqp import PublishError, Unroutable
from mailwarren.sender.adapters.control_log import ShapingWriter
from mailwarren.sender.adapters.keeper_queue import KeeperQueue
from mailwarren.sender.domain.in_force import InForce
from mailwarren.sender.smtp import SMARTHOST, Shaping

LOOK_EVERY = 1.0
NOTICE = 10.0
"""Seconds between a new plan and its validity: time for everybody to read it, and to end what goes beyond it."""
LACKING = 60.0
"""Seconds that mail may wait for slots which neither the broker nor a sender has, before they are put out anew."""
PLAN_KEPT = 24 * 3600.0
"""Seconds after which a plan is written again: the log forgets its entries after 50 hours."""

log = structlog.get_logger()


class Keeper:
    """Compares plans with rows while it holds the post, and writes what differs.

    The tokens of a new plan come before the plan: what a crash leaves between the two is of a generation that no plan
    names, and no sender uses it. Generations are moments, so two keepers never mean different tokens by one number.

    Args:
        ready: Whether the control log has been read: before that, plans may be unknown.
        lacks: Whether mail waits for a site of which the senders have fewer slots than a number.
        notice: Seconds.
        lacking: Seconds.
    """

    def __init__(
        self,
        *,
        queue: KeeperQueue,
        writer: ShapingWriter,
        in_force: InForce,
        shaping: Callable[[], Shaping],
        ready: Callable[[], bool],
        lacks: Callable[[str, int], bool],
        notice: float = NOTICE,
        lacking: float = LACKING,
    ) -> None:
        self._queue = queue
        self._writer = writer
        self._in_force = in_force
        self._shaping = shaping
        self._ready = ready
        self._lacks = lacks
        self._notice = notice
        self._lacking = lacking
        self._lacking_since: dict[str, float] = {}
        self._without: set[str] = set()
        self._written: dict[str, float] = {}

    async def run(self) -> None:
        """Look for ever."""
        while True:
            if self._queue.held and self._ready():
                for site in sorted(self._shaping().names - {SMARTHOST}):
                    try:
                        await self.look(site)
                    except PublishError as error:
                        log.warning("sender.keeper.repeated", site=site, error=str(error))
            await asyncio.sleep(LOOK_EVERY)

    async def look(self, site: str) -> None:
        """Make the plan of a site what its row says.

        Raises:
            PublishError: the broker did not take it; tokens may have been put out, which is not harmful.
        """
        now = time.time()
        plan = self._in_force.last_plan(site)
        connections = self._shaping().policy(site).limits.connections
        reserved = int(connections > 1)
        same = plan is not None and (plan.connections, plan.reserved) == (connections, reserved)
        if plan is not None and same and not await self._gone(plan, now):
            if now - max(plan.valid_from, self._written.get(site, 0.0)) > PLAN_KEPT:
                await self._writer.write(plan)
                self._written[site] = now
            return
        if now - self._written.get(site, 0.0) < LOOK_EVERY:
            return  # written, and on its way back through the log
        if same:
            del self._lacking_since[site]
            log.warning("sender.keeper.slots_gone", site=site, connections=connections)
        generation = max(int(now * 1000), plan.generation + 1 if plan is not None else 1)
        try:
            for index in range(connections):
                await self._queue.put(Token(site, generation, index), high=index >= connections - reserved)
        except Unroutable:
            if site not in self._without:
                self._without.add(site)
                log.warning("sender.keeper.no_queue", site=site, cure="mailwarren topology apply --shaping FILE")
            return
        self._without.discard(site)
        valid_from = now if plan is None else time.time() + self._notice
        await self._writer.write(SlotPlan(site, generation, connections, reserved, valid_from))
        self._written[site] = time.time()
        log.info("sender.keeper.planned", site=site, connections=connections, generation=generation)

    async def _gone(self, plan: SlotPlan, now: float) -> bool:
        """Whether slots of a plan are nowhere: somebody purged their queue, or made it anew.

        An override leaves senders fewer slots than there are, and a plan to come finds those of the one before.
        """
        site = plan.site
        force = self._in_force.site(site, now)
        limited = force.suspended is not None or force.probed is not None or force.connections is not None
        settled = not limited and self._in_force.coming(site, now) is None
        if settled and self._lacks(site, plan.connections):
            ready = await self._queue.ready(site)
            if ready is not None and self._lacks(site, plan.connections - ready):
                return now - self._lacking_since.setdefault(site, now) >= self._lacking
        self._lacking_since.pop(site, None)
        return False
