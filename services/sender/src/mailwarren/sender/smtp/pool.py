"""All connections of a process: one mail in, one result out."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import msgspec
import structlog

from mailwarren.contracts.reply import Command, Reply
from mailwarren.contracts.tls import TlsPolicy, TlsSession
from mailwarren.sender.smtp.brokentls import Broken
from mailwarren.sender.smtp.client import ClientSettings, open_session
from mailwarren.sender.smtp.connection import Connection
from mailwarren.sender.smtp.dialogue import used_up
from mailwarren.sender.smtp.dispatch import Dispatch
from mailwarren.sender.smtp.envelope import Envelope, Pieces, WireData
from mailwarren.sender.smtp.hosts import HostHealth, most_hopeful
from mailwarren.sender.smtp.result import (
    Abandoned,
    MaySend,
    NoSession,
    Refused,
    Result,
    Unreachable,
    UnreachableKind,
)
from mailwarren.sender.smtp.share import Watch
from mailwarren.sender.smtp.site import Site, SiteLimits
from mailwarren.sender.smtp.sitepool import SitePool
from mailwarren.sender.smtp.sitestate import SiteStats

MakeData = Callable[[], Awaitable[WireData]]
"""Makes a message in wire form."""

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


@dataclass(frozen=True, slots=True)
class Dials:
    """Connections that were tried, by the name of the site."""

    opened: Counter[str]
    failed: Counter[str]


class Pool:
    """Connections kept per site, handed to senders in order of arrival.

    Args:
        settings: What all connections share.
        host_hold: Seconds that a host is skipped after it gave no session; doubles with each failure in a row.
        longest_hold: Seconds at most.
        rng: For the choice among MX hosts of equal preference.
        watch: What is this process's own of a site's limits, and who hears how connections fare; by default all.

    Attributes:
        opened_total: Sessions set up.
        tls_total: Of these, under TLS.
        failed_dials_total: Hosts that gave no session.
        retried_total: Mails taken to a fresh connection because a kept one was dead or used up.
    """

    def __init__(
        self,
        settings: ClientSettings,
        *,
        host_hold: float = 5.0,
        longest_hold: float = 60.0,
        rng: random.Random | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.opened_total = 0
        self.tls_total = 0
        self.failed_dials_total = 0
        self.retried_total = 0
        self._settings = settings
        self._health = HostHealth(first_hold=host_hold, longest_hold=longest_hold, rng=rng or random.Random())
        self._watch = watch or Watch()
        self._sites: dict[str, SitePool] = {}
        self._dials = Dials(Counter(), Counter())
        self._closing = False
        self._changes = 0
        self._empty = asyncio.Event()
        self._empty.set()

    async def send(self, site: Site, envelope: Envelope, data: WireData | MakeData, may_send: MaySend) -> Result:
        """Send one mail and say what became of it; network trouble and refusals are values.

        A mail that meets a kept-alive connection that is dead or used up, before its data was written, goes out again
        on a fresh one; one that a host cannot be sent, for its size or its address, is offered to the other hosts. No
        other case is retried here. Cancelling it drops the connection in use; the mail's fate is
        then unknown.

        Args:
            site: Where to; its limits replace those that the site had.
            envelope: Who from and for.
            data: The message in wire form, from ``prepare_data``, or what makes it: called once, when a connection is
                in hand and the server has not heard of the mail.
            may_send: The gate, asked at most once, right before the data is written. False abandons the mail.

        Raises:
            Exception: only what ``data`` or ``may_send`` raises; no data was written then.
        """
        if self._closing:
            return Result(Abandoned())
        queue, changes = self._queue(site), self._changes
        asked = time.monotonic()
        connection = queue.take_idle(site.route)
        if connection is None:
            found = await queue.acquire(site)
            if not isinstance(found, Connection):
                return _unsent(site, found, asked)
            connection = found
        if not isinstance(data, bytes | Pieces):
            data = await self._make(data, queue, connection)
        kept = connection.kept
        queue.promise_behind(connection)
        sessions = _told(site, connection) if connection.negotiated else ()
        dispatch = await connection.transact(envelope, data, may_send)
        if kept and _was_spent(dispatch):
            connection.shut = True
            queue.release(connection)
            if self._closing or changes != self._changes:
                return _unsent(site, Abandoned(), asked)
            self.retried_total += 1
            queue = self._queue(site)
            found = await queue.acquire(site, fresh=True)
            if not isinstance(found, Connection):
                return _unsent(site, found, asked)
            connection = found
            sessions += _told(site, connection)
            dispatch = await connection.transact(envelope, data, may_send)
        result = Result(
            dispatch.outcome,
            connection.label,
            connection.tls,
            dispatch.began - asked,
            time.monotonic() - dispatch.began,
            dispatch.dot_at,
            dispatch.replied_at,
            connection.rule,
            sessions,
        )
        queue.release(connection)
        if isinstance(result.outcome, Refused):
            # What one host cannot be sent another may take; when none of those that can be reached does, it is refused.
            others = tuple(one for one in site.hosts if one.name != connection.host.name)
            if others:
                elsewhere = await self.send(replace(site, hosts=others), envelope, data, may_send)
                decided = result if _gave_no_session(elsewhere) else elsewhere
                result = msgspec.structs.replace(decided, sessions=sessions + elsewhere.sessions)
        return result

    @staticmethod
    async def _make(make_data: MakeData, queue: SitePool, connection: Connection) -> WireData:
        try:
            return await make_data()
        except BaseException:
            queue.release(connection)
            raise

    def adapt(self, limits_of: Callable[[Site], SiteLimits | None]) -> None:
        """Have all connections obey rules that have changed.

        A mail that has a connection goes out on it. Those that wait for one of a site whose mail goes another way now
        are ``Abandoned``: their caller looks the site up again.

        Args:
            limits_of: The limits that a site has now; None when its mail goes another way (``Routes.limits_of``).
        """
        self._changes += 1
        for queue in list(self._sites.values()):
            queue.adapt(limits_of)
            queue.set_share(self._watch.share_of(queue.name, queue.limits))

    def reshare(self, name: str) -> None:
        """The share of a site may be another one now."""
        if (queue := self._sites.get(name)) is not None:
            queue.set_share(self._watch.share_of(name, queue.limits))

    def at(self, name: str) -> SitePool | None:
        """The connections of a site; None when there are none, and nobody waits."""
        return self._sites.get(name)

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites that have connections, or senders who wait."""
        return tuple(self._sites)

    async def close(self, grace: float) -> None:
        """Finish what is in flight within ``grace`` seconds, then drop the rest; returns with every transport closed.

        Senders that wait for a connection get ``Abandoned`` at once, and so does every later ``send``. A mail dropped
        after its final dot is ``Unreachable`` with ``dot_sent``, before it ``Abandoned``.
        """
        self._closing = True
        for queue in list(self._sites.values()):
            queue.close()
        await self._emptied(grace)
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

    def broken_tls(self) -> tuple[Broken, ...]:
        """The hosts that are spoken to in the clear because their TLS is broken, where nothing requires it."""
        return self._settings.broken.all()

    def take_dials(self) -> Dials:
        """Dials since the last time that somebody asked: of all times there may be any number of sites."""
        taken, self._dials = self._dials, Dials(Counter(), Counter())
        return taken

    # --- inside ---

    def _queue(self, site: Site) -> SitePool:
        queue = self._sites.get(site.name)
        if queue is None:
            watch = self._watch
            queue = SitePool(
                site.name,
                site.limits,
                watch.share_of(site.name, site.limits),
                dial=self._dial,
                dial_hold=DIAL_HOLD,
                emptied=self._forget,
                freed=watch.freed,
            )
            self._sites[site.name] = queue
            self._empty.clear()
        elif queue.limits is not site.limits:
            queue.set_limits(site.limits)
            queue.set_share(self._watch.share_of(site.name, site.limits))
        return queue

    def _forget(self, queue: SitePool) -> None:
        """A site without connections and waiters costs nothing until it is needed again."""
        if self._sites.get(queue.name) is queue:
            del self._sites[queue.name]
        if not self._sites:
            self._empty.set()

    async def _emptied(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._empty.wait()

    async def _dial(self, queue: SitePool, site: Site) -> Connection | NoSession:
        """Try the hosts of ``site`` in order; without trying, when all failed a moment ago."""
        now = asyncio.get_running_loop().time()
        known = self._health.failure(site.hosts, now, site.route)
        if known is not None:
            self._blame(site, known)
            return known
        failures: list[NoSession] = []
        for host in self._health.order(site.hosts, now, site.route):
            opened = await open_session(host, site, self._settings)
            if isinstance(opened, Connection):
                opened.negotiated = (*(one for failed in failures for one in failed.negotiated), *opened.negotiated)
                self._health.worked(host, site.route)
                self._watch.session(site.name)
                self.opened_total += 1
                self._dials.opened[site.name] += 1
                self.tls_total += opened.tls is not None
                log.debug("sender.smtp.connected", site=site.name, host=opened.label, tls=opened.tls)
                return opened
            self.failed_dials_total += 1
            self._dials.failed[site.name] += 1
            # Where connections stand, one more refused is the server's limit, not its death. They may stand for mail
            # that needs other TLS.
            about_tls, reached = _is_about_tls(opened), queue.reaches(host)
            if about_tls or not reached:
                kept, now = replace(opened, negotiated=[]), asyncio.get_running_loop().time()
                # What a host does not give to one address of ours it may well give to another.
                own = about_tls or site.source is not None
                self._health.failed(host, kept, now, site.route if own else "")
            if not reached:
                self._blame(site, opened)
            log.info("sender.smtp.no_session", site=site.name, host=opened.host, reason=opened.reason)
            failures.append(opened)
        negotiated = [one for failed in failures for one in failed.negotiated]
        return replace(most_hopeful(failures), negotiated=negotiated)

    def _blame(self, site: Site, failure: NoSession) -> None:
        """Tell that a site gave no session; not when it was not asked, nor for a policy that its other mail has not."""
        if isinstance(failure.failure, Unreachable) and failure.failure.kind is UnreachableKind.EGRESS:
            return
        beyond = site.tls is not site.by_row or (site.policy is not None and site.policy.kind is not TlsPolicy.NONE)
        if _is_about_tls(failure) and (beyond or any(host.dane is not None for host in site.hosts)):
            return
        self._watch.no_session(site, failure)


def _was_spent(dispatch: Dispatch) -> bool:
    """Whether a kept connection gave out before the mail's data, so that another try cannot send it twice."""
    if dispatch.data_started:
        return False
    outcome = dispatch.outcome
    if isinstance(outcome, Reply):
        return used_up(outcome)
    return isinstance(outcome, Unreachable)


def _gave_no_session(result: Result) -> bool:
    """Whether no host was asked to take the mail."""
    outcome = result.outcome
    return isinstance(outcome, Reply | Unreachable) and not result.duration and result.dot_at is None


def _is_about_tls(failure: NoSession) -> bool:
    """Whether the host may well give a session to mail that needs other TLS, or none."""
    outcome = failure.failure
    return outcome.command is Command.STARTTLS if isinstance(outcome, Reply) else outcome.tls is not None


def _told(site: Site, found: Connection | NoSession) -> tuple[TlsSession, ...]:
    """How TLS was negotiated for what was found, if nobody has told of it before; nobody is told of a smarthost's."""
    if not found.negotiated:
        return ()
    negotiated = tuple(found.negotiated)
    if isinstance(found, Connection):
        found.negotiated = ()
    else:
        found.negotiated.clear()
    return tuple(one.told(site.policy) for one in negotiated) if site.policy is not None else ()


def _unsent(site: Site, found: NoSession | Abandoned, asked: float) -> Result:
    waited = time.monotonic() - asked
    if isinstance(found, Abandoned):
        return Result(found, waited=waited)
    sessions = _told(site, found)
    return Result(found.failure, found.host, waited=waited, tls_policy=found.rule, sessions=sessions)
