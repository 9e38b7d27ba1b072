"""What is this process's own of each site's limits, and how it hears and says that limits have changed."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from uuid import UUID

import structlog
from aio_pika.abc import AbstractConnection

from mailwarren.contracts.shaping import Heartbeat, Notice, Override
from mailwarren.contracts.topology import Topology
from mailwarren.runtime.amqp import PublishError
from mailwarren.runtime.tasks import end
from mailwarren.sender.adapters.control_log import ShapingEntry
from mailwarren.sender.domain.breaker import Breaker
from mailwarren.sender.domain.in_force import InForce
from mailwarren.sender.shaping.holder import SlotHolder, Use
from mailwarren.sender.shaping.roll import Roll
from mailwarren.sender.smtp import SMARTHOST, Pool, Shaping, Share, Site, SiteLimits, Watch
from mailwarren.sender.smtp.result import NoSession

log = structlog.get_logger()


class Shares(Watch):
    """The limits, seen from one process. For one event loop.

    Args:
        topology: Names of queues.
        in_force: What the control log says.
        roll: Who else is alive.
        shaping: The rows in force.
        direct: Mail goes to the recipients' mail hosts; a smarthost's limits are each process's own.
        high: This sender serves the high lane.
        write: Puts an entry into the control log.
        connection: The broker connection; None without one.
        held: How many mails wait for a site outside of its line.
        changed: Called with a site for which something else is in force.
    """

    def __init__(
        self,
        *,
        topology: Topology,
        in_force: InForce,
        roll: Roll,
        shaping: Callable[[], Shaping],
        direct: bool,
        high: bool,
        write: Callable[[ShapingEntry], Awaitable[None]],
        connection: Callable[[], AbstractConnection | None],
        held: Callable[[str], int],
        changed: Callable[[str], None],
        breaker: Breaker | None = None,
    ) -> None:
        self.in_force = in_force
        self.direct = direct
        self.pool: Pool | None = None
        """The connections that are kept within limits."""
        self.opened: Callable[[str], None] = lambda _: None
        """Called with a site that this process may have another number of connections to."""
        self._topology = topology
        self._roll = roll
        self._shaping = shaping
        self._high = high
        self._write = write
        self._connection = connection
        self._held = held
        self._tell = changed
        self._breaker = breaker or Breaker()
        self._holders: dict[str, SlotHolder] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._looked = time.time()
        self._peers: frozenset[UUID] = frozenset()

    # --- what a pool asks and tells ---

    def share_of(self, name: str, limits: SiteLimits) -> Share:
        """What is this process's own of a site's limits now."""
        now = time.time()
        force = self.in_force.site(name, now)
        if force.suspended is not None:
            return Share(0)
        most = limits.connections if force.connections is None else min(limits.connections, max(1, force.connections))
        holder = self._holder(name)
        if holder is not None and not holder.missing:
            connections, credit = holder.allowed, 0.0
            part = connections / max(1, holder.of)
        else:
            part = 1 / (self._roll.live(name, asyncio.get_running_loop().time()) if self.direct else 1)
            connections, credit = 1 if force.probed is not None else max(1, int(most * part)), 1.0
        if not connections:
            return Share(0)
        rates = [rate for rate in (limits.rate, force.rate) if rate is not None]
        return Share(
            connections,
            min(rates) * part if rates else None,
            limits.connection_rate * part if limits.connection_rate is not None else None,
            credit,
        )

    def freed(self, name: str) -> None:
        """A connection or a dial of the site is gone."""
        if (holder := self._holders.get(name)) is not None:
            holder.nudge()

    def session(self, name: str) -> None:
        """A host of the site gave a session."""
        end = self._breaker.worked(name, self.in_force.site(name, time.time()), time.time())
        if end is not None:
            log.info("sender.breaker.closed", site=name)
            self.impose(end, known=self._named(name))

    def no_session(self, site: Site, failure: NoSession) -> None:
        """A host of the site, to which no other connection stands, gave none."""
        if not self.direct:
            return
        now, name = time.time(), site.name
        sample = f"{failure.host}: {failure.reason}"
        override = self._breaker.failed(name, site.limits.breaker, self.in_force.site(name, now), sample, now)
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
        site = self.in_force.apply(entry, time.time())
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

    # --- what is asked of a site ---

    def bars(self, name: str) -> bool:
        """Whether no mail may be begun to a site now."""
        if name in self.in_force.names and self.in_force.site(name, time.time()).suspended is not None:
            return True
        holder = self._holder(name) if self.direct else None
        return holder is not None and not holder.missing and not holder.allowed

    def nudge(self, name: str) -> None:
        """Somebody waits for a site."""
        if (holder := self._holder(name)) is not None:
            holder.nudge()

    def look(self) -> None:
        """Notice what begins and ends by the clock, and who has come or gone."""
        now = time.time()
        for site in list(self.in_force.changes(self._looked, now)):
            self._changed(site)
        self._looked = now
        peers = self._roll.peers(asyncio.get_running_loop().time())
        if peers != self._peers and self.pool is not None:
            self._peers = peers
            for name in self.pool.sites:
                self.pool.reshare(name)

    async def close(self) -> None:
        """Give all slots back."""
        await end(self._tasks)
        for holder in self._holders.values():
            with contextlib.suppress(Exception):
                await holder.close()

    # --- inside ---

    def _changed(self, site: str) -> None:
        if self.pool is not None:
            self.pool.reshare(site)
        if (holder := self._holders.get(site)) is not None:
            holder.nudge()
        self._tell(site)

    def _named(self, name: str) -> bool:
        return name in self._shaping().names

    def _holder(self, name: str) -> SlotHolder | None:
        """Who holds the slots of a site; None when it has none in the broker."""
        if not self.direct or not self._named(name) or name == SMARTHOST:
            return None
        holder = self._holders.get(name)
        if holder is None:

            def use() -> Use:
                queue = self.pool.at(name) if self.pool is not None else None
                held = self._held(name)
                rates = (self._shaping().policy(name).limits.rate, self.in_force.site(name, time.time()).rate)
                paced = any(rate is not None for rate in rates)
                if queue is None:
                    return Use(backlog=held, paced=paced)
                return Use(queue.used, queue.stats().idle, queue.waiting + held, queue.begun, paced=paced)

            def changed() -> None:
                if self.pool is not None:
                    self.pool.reshare(name)
                self.opened(name)

            holder = self._holders[name] = SlotHolder(
                name,
                self._topology,
                self.in_force,
                high=self._high,
                use=use,
                changed=changed,
                connection=self._connection,
            )
            self._start(holder.run())
        return holder

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
