"""What this process may do to each site now, and the mails that wait until they may be sent."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable
from random import Random
from uuid import UUID

import structlog
from aio_pika.abc import AbstractConnection

from mailwarren.contracts.parcel import Parcel
from mailwarren.contracts.shaping import Heartbeat, Notice, Override
from mailwarren.contracts.shards import PROVIDERS
from mailwarren.contracts.topology import Topology
from mailwarren.runtime.amqp import PublishError
from mailwarren.sender.adapters.control_log import ShapingEntry
from mailwarren.sender.domain.breaker import Breaker
from mailwarren.sender.domain.in_force import InForce
from mailwarren.sender.domain.waits import Climb, Slow, plan_wait
from mailwarren.sender.incoming import Incoming
from mailwarren.sender.shaping.holder import SlotHolder, Use
from mailwarren.sender.shaping.roll import Roll
from mailwarren.sender.shaping.waiting import Waiting, WaitingRoom
from mailwarren.sender.smtp import SMARTHOST, Pool, Shaping, Share, Site, SiteLimits, Watch
from mailwarren.sender.smtp.result import NoSession

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


class Shaper(Watch):
    """The limits, seen from one process. For one event loop.

    Args:
        topology: Names of queues, and the ladder.
        in_force: What the control log says.
        roll: Who else is alive.
        room: Where mails wait.
        shaping: The rows in force.
        direct: Mail goes to the recipients' mail hosts; a smarthost's limits are each process's own.
        high: This sender serves the high lane.
        write: Puts an entry into the control log.
        connection: The broker connection; None without one.
    """

    def __init__(
        self,
        *,
        topology: Topology,
        in_force: InForce,
        roll: Roll,
        room: WaitingRoom,
        shaping: Callable[[], Shaping],
        direct: bool,
        high: bool,
        write: Callable[[ShapingEntry], Awaitable[None]],
        connection: Callable[[], AbstractConnection | None],
        breaker: Breaker | None = None,
    ) -> None:
        self._topology = topology
        self._in_force = in_force
        self._roll = roll
        self._room = room
        self._shaping = shaping
        self._direct = direct
        self._high = high
        self._write = write
        self._connection = connection
        self._breaker = breaker or Breaker()
        self._pool: Pool | None = None
        self._holders: dict[str, SlotHolder] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._samples: dict[str, deque[int]] = {}
        self._looked = time.time()
        self._peers: frozenset[UUID] = frozenset()

    def attach(self, pool: Pool) -> None:
        """The connections that are to be kept within limits."""
        self._pool = pool

    # --- what a mail asks ---

    def check(self, site: Site, tenant: UUID, *, turn: bool) -> None:
        """Raise :class:`SlowSite` when a mail has to wait; with ``turn`` it has waited for its turn, which has come."""
        name = site.name
        if self._in_force.tenants and self._in_force.tenant(tenant, time.time()) is not None:
            raise SlowSite(name)
        if name in self._in_force.names and self._in_force.site(name, time.time()).suspended is not None:
            raise SlowSite(name)
        if not self._direct:
            return
        holder = self._holder(name)
        if holder is not None and not holder.missing and not holder.allowed:
            raise SlowSite(name)
        if not turn and (self._room.count(name) or self._space(name) <= 0):
            raise SlowSite(name)

    async def wait(
        self, name: str, parcel: Parcel, incoming: Incoming, *, still: Callable[[], bool], since: float, until: float
    ) -> float | bool:
        """Hold a mail whose site is slow.

        Args:
            name: The site.
            parcel: The mail's.
            incoming: Its message.
            still: False when the mail has something else to do than wait.
            since: When it began to wait (the loop's clock).
            until: When its time runs out (Unix time).

        Returns:
            Whether its turn has come, or the seconds that it is to spend on the ladder.
        """
        now, loop_now = time.time(), asyncio.get_running_loop().time()
        barred = self._in_force.tenant(parcel.tenant, now)
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
            scale=self._topology.ladder.scale,
            # One dice for a parcel: its mails stay together on the ladder.
            rng=Random(f"{parcel.id}{parcel.shaped}"),
        )
        if isinstance(plan, Climb):
            return plan.seconds
        waiting = self._room.wait(name, Waiting(incoming, since, still), plan.seconds)
        if (holder := self._holder(name)) is not None:
            # After this mail has entered: what nobody waits for needs no slot.
            asyncio.get_running_loop().call_soon(holder.nudge)
        return await waiting

    # --- what the pool asks and tells ---

    def share_of(self, name: str, limits: SiteLimits) -> Share:
        """What is this process's own of a site's limits now."""
        now = time.time()
        force = self._in_force.site(name, now)
        if force.suspended is not None:
            return Share(0)
        most = limits.connections if force.connections is None else min(limits.connections, max(1, force.connections))
        holder = self._holder(name)
        if holder is not None and not holder.missing:
            connections = holder.allowed
            part = connections / max(1, holder.of)
        else:
            part = 1 / (self._roll.live(name, asyncio.get_running_loop().time()) if self._direct else 1)
            connections = 1 if force.probed is not None else max(1, int(most * part))
        if not connections:
            return Share(0)
        rates = [rate for rate in (limits.rate, force.rate) if rate is not None]
        return Share(
            connections,
            min(rates) * part if rates else None,
            limits.connection_rate * part if limits.connection_rate is not None else None,
        )

    def freed(self, name: str) -> None:
        """A connection or a dial of the site is gone."""
        if (holder := self._holders.get(name)) is not None:
            holder.nudge()

    def session(self, name: str) -> None:
        """A host of the site gave a session."""
        end = self._breaker.worked(name, self._in_force.site(name, time.time()), time.time())
        if end is not None:
            log.info("sender.breaker.closed", site=name)
            self.impose(end, known=self._named(name))

    def no_session(self, site: Site, failure: NoSession) -> None:
        """A host of the site, to which no other connection stands, gave none."""
        if not self._direct:
            return
        now, name = time.time(), site.name
        sample = f"{failure.host}: {failure.reason}"
        override = self._breaker.failed(name, site.limits.breaker, self._in_force.site(name, now), sample, now)
        if override is not None:
            log.warning("sender.breaker.opened", site=name, seconds=override.until - now, sample=sample)
            self.impose(override, known=self._named(name))

    # --- what is in force ---

    def impose(self, entry: ShapingEntry, *, known: bool = True) -> None:
        """Put an override in force, or end one: here at once, and with ``known`` at all senders."""
        self.heard(entry)
        if known:
            self._start(self._publish(entry))

    def heard(self, entry: ShapingEntry) -> None:
        """An entry of the control log."""
        if isinstance(entry, Override):
            log.info("sender.override", scope=entry.scope, name=entry.name, cause=entry.cause, until=entry.until)
        site = self._in_force.apply(entry, time.time())
        if site is not None:
            self._changed(site)

    def noticed(self, notice: Notice) -> None:
        """What a sender says to all."""
        if isinstance(notice, Heartbeat):
            self._roll.heard(notice, asyncio.get_running_loop().time())

    def connected(self) -> None:
        """There is a new broker connection."""
        for holder in self._holders.values():
            holder.nudge()

    # --- tasks ---

    async def run(self) -> None:
        """Give turns to those who wait, and notice what begins and ends by the clock; for ever."""
        ticks = 0
        while True:
            await asyncio.sleep(TICK)
            ticks += 1
            try:
                now = time.time()
                for site in list(self._in_force.changes(self._looked, now)):
                    self._changed(site)
                self._looked = now
                self._give_turns()
                if ticks % round(LOOK_AROUND / TICK) == 0:
                    self._room.look_around()
                    self._look_at_peers()
            except Exception:
                log.exception("sender.shaper.error")

    async def close(self) -> None:
        """Give all slots back."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for holder in self._holders.values():
            with contextlib.suppress(Exception):
                await holder.close()

    def slots_of(self, name: str) -> int:
        """Connections that this process may have to a site, for those who look at it from outside."""
        queue = self._pool.at(name) if self._pool is not None else None
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

    def _changed(self, site: str) -> None:
        if self._pool is not None:
            self._pool.reshare(site)
        if (holder := self._holders.get(site)) is not None:
            holder.nudge()
        self._room.look_again(site)

    def _give_turns(self) -> None:
        for name in self._room.sites:
            queue = self._pool.at(name) if self._pool is not None else None
            samples = self._samples.setdefault(name, deque(maxlen=TICKS_MEASURED + 1))
            samples.append(queue.begun if queue is not None else 0)
            holder = self._holder(name)
            if holder is not None and not holder.missing and not holder.allowed:
                continue
            self._room.call(name, self._space(name))
        for name in self._samples.keys() - set(self._room.sites):
            del self._samples[name]

    def _served(self, name: str) -> int:
        """Mails that got a connection in the last second, as far as it was measured."""
        samples = self._samples.get(name)
        return max(0, samples[-1] - samples[0]) if samples else 0

    def _space(self, name: str) -> int:
        """Mails that the site's line takes without being slow: as many as are served in a second."""
        queue = self._pool.at(name) if self._pool is not None else None
        if queue is None:
            return LINE_PER_CONNECTION
        share = queue.share
        if share.rate is not None:
            return int(share.rate) + 1 - queue.waiting
        return max(LINE_PER_CONNECTION * share.connections, self._served(name)) - queue.waiting

    def _line(self, name: str) -> float:
        """Seconds that those who wait for a site will take; 0 when that is not known."""
        queue = self._pool.at(name) if self._pool is not None else None
        waiting = self._room.count(name) + (queue.waiting if queue is not None else 0)
        rate = queue.share.rate if queue is not None and queue.share.rate else self._served(name)
        return waiting / rate if rate else 0.0

    def _named(self, name: str) -> bool:
        return name in self._shaping().names

    def _holder(self, name: str) -> SlotHolder | None:
        """Who holds the slots of a site; None when it has none in the broker."""
        if not self._direct or not self._named(name) or name == SMARTHOST:
            return None
        holder = self._holders.get(name)
        if holder is None:

            def use() -> Use:
                queue = self._pool.at(name) if self._pool is not None else None
                held = self._room.count(name)
                rates = (self._shaping().policy(name).limits.rate, self._in_force.site(name, time.time()).rate)
                paced = any(rate is not None for rate in rates)
                if queue is None:
                    return Use(backlog=held, paced=paced)
                return Use(queue.used, queue.waiting + held, queue.begun, paced=paced)

            def changed() -> None:
                if self._pool is not None:
                    self._pool.reshare(name)

            holder = self._holders[name] = SlotHolder(
                name,
                self._topology,
                self._in_force,
                high=self._high,
                use=use,
                changed=changed,
                connection=self._connection,
            )
            self._start(holder.run())
        return holder

    def _look_at_peers(self) -> None:
        """Limits are shared out anew when a sender has come or gone."""
        peers = self._roll.peers(asyncio.get_running_loop().time())
        if peers != self._peers and self._pool is not None:
            self._peers = peers
            for name in self._pool.sites:
                self._pool.reshare(name)

    async def _publish(self, entry: ShapingEntry) -> None:
        try:
            await self._write(entry)
        except PublishError as error:
            # It holds here; the others find out for themselves, or from the next one.
            log.warning("sender.override.not_written", error=str(error))

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
