"""All connections of a process: one mail in, one result out."""

import asyncio
import contextlib
import random
import time
from dataclasses import dataclass

import structlog

from mailwarren.contracts.reply import Command, Reply
from mailwarren.sender.smtp.client import ClientSettings, open_session
from mailwarren.sender.smtp.connection import Connection, MaySend
from mailwarren.sender.smtp.dialogue import SERVICE_CLOSING
from mailwarren.sender.smtp.envelope import Envelope
from mailwarren.sender.smtp.hosts import HostHealth, most_hopeful
from mailwarren.sender.smtp.result import Abandoned, NoSession, Outcome, Result, Unreachable
from mailwarren.sender.smtp.site import Site
from mailwarren.sender.smtp.sitepool import SitePool, SiteStats
from mailwarren.sender.smtp.waiting import Grant

DIAL_HOLD = 5.0
"""Seconds that no more connections are tried after a server refused one beside those that it has."""

CUT_GRACE = 1.0
"""Seconds that the transports get to close after everything was dropped."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PoolStats:
    """What a pool did since it was made, and what it has now, per site."""

    opened_total: int
    tls_total: int
    failed_dials_total: int
    retried_total: int
    sites: tuple[SiteStats, ...]


class Pool:
    """Connections kept per site, handed to senders in order of arrival.

    Args:
        settings: What all connections share.
        host_hold: Seconds that a host is skipped after it gave no session; doubles with each failure in a row.
        longest_hold: Seconds at most.
        rng: For the choice among MX hosts of equal preference.

    Attributes:
        opened_total: Sessions set up.
        tls_total: Of these, under TLS.
        failed_dials_total: Hosts that gave no session.
        retried_total: Mails taken to a fresh connection because a kept one was dead.
    """

    def __init__(
        self,
        settings: ClientSettings,
        *,
        host_hold: float = 5.0,
        longest_hold: float = 60.0,
        rng: random.Random | None = None,
    ) -> None:
        self.opened_total = 0
        self.tls_total = 0
        self.failed_dials_total = 0
        self.retried_total = 0
        self._settings = settings
        self._health = HostHealth(first_hold=host_hold, longest_hold=longest_hold, rng=rng or random.Random())
        self._sites: dict[str, SitePool] = {}
        self._dials: set[asyncio.Task[Connection | NoSession]] = set()
        self._closing = False
        self._empty = asyncio.Event()
        self._empty.set()

    async def send(self, site: Site, envelope: Envelope, data: bytes, may_send: MaySend) -> Result:
        """Send one mail and say what became of it; network trouble and refusals are values.

        A mail that meets a dead kept-alive connection before its data was written goes out again on a fresh one. No
        other case is retried here. Cancelling it drops the connection in use; the mail's fate is then unknown.

        Args:
            site: Where to; its limits replace those that the site had.
            envelope: Who from and for.
            data: The message in wire form, from ``prepare_data``.
            may_send: The gate, asked at most once, right before the data is written. False abandons the mail.

        Raises:
            Exception: only what ``may_send`` raises; no data was written then.
        """
        if self._closing:
            return Result(Abandoned())
        queue = self._queue(site)
        connection = queue.take_idle(site.route)
        started = time.monotonic()
        if connection is None:
            grant = await queue.acquire(site.route)
            started = time.monotonic()
            found = grant if isinstance(grant, Connection) else await self._use(queue, site, grant)
            if not isinstance(found, Connection):
                return _unsent(found, started)
            connection = found
        kept = connection.messages > 0
        outcome = await connection.transact(envelope, data, may_send)
        if kept and _was_dead(connection, outcome):
            found = await self._fresh(site)
            if not isinstance(found, Connection):
                return _unsent(found, started)
            connection, queue = found, self._queue(site)
            outcome = await connection.transact(envelope, data, may_send)
        duration = time.monotonic() - started
        dot_at, replied_at = connection.dot_at, connection.replied_at
        queue.release(connection)
        return Result(outcome, connection.label, connection.tls, duration, dot_at, replied_at)

    async def close(self, grace: float) -> None:
        """Finish what is in flight within ``grace`` seconds, then drop the rest; returns with every transport closed.

        Senders that wait for a connection get ``Abandoned`` at once, and so does every later ``send``. A mail dropped
        after its final dot is ``Unreachable`` with ``dot_sent``, before it ``Abandoned``.
        """
        self._closing = True
        for queue in list(self._sites.values()):
            queue.close()
        await self._emptied(grace)
        for dial in self._dials:
            dial.cancel()
        for queue in list(self._sites.values()):
            queue.cut()
        await self._emptied(CUT_GRACE)

    def stats(self) -> PoolStats:
        """Count, for a metrics module to read."""
        return PoolStats(
            opened_total=self.opened_total,
            tls_total=self.tls_total,
            failed_dials_total=self.failed_dials_total,
            retried_total=self.retried_total,
            sites=tuple(queue.stats() for queue in self._sites.values()),
        )

    # --- inside ---

    def _queue(self, site: Site) -> SitePool:
        queue = self._sites.get(site.name)
        if queue is None:
            queue = SitePool(site.name, site.limits, dial_hold=DIAL_HOLD, emptied=self._forget)
            self._sites[site.name] = queue
            self._empty.clear()
        elif queue.limits is not site.limits:
            queue.limits = site.limits
        return queue

    def _forget(self, queue: SitePool) -> None:
        """A site without connections and waiters costs nothing until it is needed again."""
        del self._sites[queue.name]
        if not self._sites:
            self._empty.set()

    async def _emptied(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._empty.wait()

    async def _use(self, queue: SitePool, site: Site, grant: Connection | Grant) -> Connection | NoSession | Abandoned:
        """Turn ``grant`` into a connection; when a dial fails beside others that stand, wait for one of those."""
        while grant is Grant.DIAL:
            known = self._health.failure(site.hosts, asyncio.get_running_loop().time())
            try:
                found = known or await self._dial(queue, site)
            except asyncio.CancelledError:
                queue.dial_ended(site.route, failed=False)
                raise
            if isinstance(found, Connection):
                queue.adopt(found)
                return found
            failed = isinstance(found, NoSession)
            others = queue.dial_ended(site.route, failed=failed)
            if not (failed and others) or (known is not None and not queue.established(site.route)):
                return found
            grant = await queue.acquire(site.route, at_head=True)
        return grant if isinstance(grant, Connection) else Abandoned()

    async def _fresh(self, site: Site) -> Connection | NoSession | Abandoned:
        """Get a new connection in place of a kept one that turned out to be dead, before all others in line."""
        self.retried_total += 1
        queue = self._queue(site)
        return await self._use(queue, site, await queue.acquire(site.route, at_head=True, fresh=True))

    async def _dial(self, queue: SitePool, site: Site) -> Connection | NoSession | Abandoned:
        """Dial in a task of its own, so that closing the pool can end it without cancelling the sender."""
        dial = asyncio.create_task(self._try_hosts(queue, site))
        self._dials.add(dial)
        dial.add_done_callback(self._dials.discard)
        try:
            await asyncio.wait((dial,))
        except asyncio.CancelledError:
            dial.cancel()
            dial.add_done_callback(_drop)
            raise
        return Abandoned() if dial.cancelled() else dial.result()

    async def _try_hosts(self, queue: SitePool, site: Site) -> Connection | NoSession:
        failures = []
        now = asyncio.get_running_loop().time()
        for host in self._health.order(site.hosts, now):
            opened = await open_session(host, site, self._settings)
            if isinstance(opened, Connection):
                self._health.worked(host)
                self.opened_total += 1
                self.tls_total += opened.tls is not None
                log.debug("sender.smtp.connected", site=site.name, host=opened.label, tls=opened.tls)
                return opened
            self.failed_dials_total += 1
            # Where connections stand, one more refused is the server's limit, not its death.
            if not queue.reaches(host):
                self._health.failed(host, opened, asyncio.get_running_loop().time())
            log.info("sender.smtp.no_session", site=site.name, host=opened.host, reason=opened.reason)
            failures.append(opened)
        return most_hopeful(failures)


def _was_dead(connection: Connection, outcome: Outcome) -> bool:
    """Whether a kept connection gave out before the mail's data, so that another try cannot send it twice."""
    if connection.data_started:
        return False
    if isinstance(outcome, Reply):
        return outcome.code == SERVICE_CLOSING and outcome.command is Command.MAIL
    return isinstance(outcome, Unreachable)


def _unsent(found: NoSession | Abandoned, started: float) -> Result:
    duration = time.monotonic() - started
    if isinstance(found, Abandoned):
        return Result(found, duration=duration)
    return Result(found.failure, found.host, duration=duration)


def _drop(dial: "asyncio.Task[Connection | NoSession]") -> None:
    """The sender that dialled was cancelled; nobody wants the connection."""
    if not dial.cancelled() and dial.exception() is None:
        found = dial.result()
        if isinstance(found, Connection):
            found.abort()
