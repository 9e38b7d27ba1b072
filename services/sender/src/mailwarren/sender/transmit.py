"""One delivery over SMTP: where to, which bytes, what became of it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from email.utils import parseaddr
from functools import lru_cache, partial
from typing import assert_never

import structlog
from msgspec.structs import replace

from mailwarren.contracts.events import Kind
from mailwarren.contracts.parcel import Attempt, Content, Delivery, OnUnknown, Parcel
from mailwarren.contracts.reply import Reply
from mailwarren.contracts.routing import domain_of
from mailwarren.contracts.template import TemplateProblem
from mailwarren.sender.adapters.ladder import Stale
from mailwarren.sender.adapters.outcomes import OutcomeWriter
from mailwarren.sender.domain.classify import PROTOCOL_ERROR, Reading, ReplyRules, read_reply
from mailwarren.sender.domain.egress import UNUSABLE
from mailwarren.sender.domain.mime import File, build_mail_with_files
from mailwarren.sender.domain.render import Unbuildable, build_mail, leave_link
from mailwarren.sender.egress.departures import Departures
from mailwarren.sender.egress.metrics import record_egress_attempt
from mailwarren.sender.metrics import record_sessions
from mailwarren.sender.shaping.automation import Automation
from mailwarren.sender.shaping.shaper import Shaper
from mailwarren.sender.signing.mails import Signing
from mailwarren.sender.smtp import (
    Abandoned,
    DnsFailure,
    Envelope,
    MakeData,
    MaySend,
    PolicyFailure,
    Pool,
    Refused,
    Result,
    Routes,
    Site,
    Unreachable,
    UnreachableKind,
    WireData,
    prepare_data,
    prepare_pieces,
)

log = structlog.get_logger()

GATE_PAUSE = 0.05

OpenFiles = Callable[[], AbstractAsyncContextManager[Sequence[File]]]
"""Opens the attachments of a mail for one try."""


@dataclass(slots=True)
class Tried:
    """How a try ended. ``attempt`` is None when nothing was tried (the mail could not be built)."""

    delivery: Delivery
    kind: Kind
    attempt: Attempt | None = None
    reason: str | None = None
    suppress: bool = False
    retry_in: float | None = None


@dataclass(frozen=True, slots=True)
class Permit:
    """What the tries of a parcel need on their way."""

    owned: Callable[[], bool]
    """The parcel is still ours."""
    wanted: Callable[[Delivery], bool]
    """Nobody has canceled the mail and its time has not run out."""
    begin: Callable[[Delivery], Awaitable[None]] | None
    """If there is one, to be awaited when a connection is in hand, before the server hears of the mail."""
    insure: Callable[[], Awaitable[None]] | None = None
    """If there is one, to be awaited when a connection is in hand, before the mail is built."""
    files: OpenFiles | None = None
    """If there is one, to be opened when the site takes mail, until the try has ended."""
    signing: Signing | None = None
    """If there is one, it builds and signs the mail."""

    def check(self, delivery: Delivery) -> None:
        """Raise :class:`Stale` or :class:`Withdrawn` when the mail may not be sent."""
        if not self.owned():
            raise Stale
        if not self.wanted(delivery):
            raise Withdrawn


class Withdrawn(Exception):
    """Nothing was sent, because the mail is not wanted any more."""


class Transmitter:
    """Finds the site, builds the bytes and sends them, if the parcel is still ours when the data is due.

    Args:
        replies: The reply rules in force.
        shaper: Knows which sites are slow.
        automation: Carries out what rules ask for.
        departures: Knows what mail leaves from; None: as the host sends it.
    """

    def __init__(
        self,
        *,
        routes: Routes,
        pool: Pool,
        outcomes: OutcomeWriter,
        replies: Callable[[], ReplyRules],
        shaper: Shaper,
        automation: Automation,
        departures: Departures | None = None,
    ) -> None:
        self._shaper = shaper
        self._automation = automation
        self._departures = departures
        self._routes = routes
        self._replies = replies
        self._pool = pool
        self._outcomes = outcomes

    async def transmit(self, parcel: Parcel, delivery: Delivery, permit: Permit, *, turn: bool = False) -> Tried:
        """One attempt.

        The mail is built when a connection is in hand: those that wait for one cost next to no memory. Its files are
        there by then: no connection waits for them.

        Args:
            parcel: The mail's.
            delivery: The mail.
            permit: What to ask.
            turn: The mail has waited for its turn at a slow site, and it has come.

        Raises:
            SlowSite: the mail has to wait for its turn.
            Stale: the parcel stopped being ours before mail data was written.
            Withdrawn: the mail stopped being wanted before that.
            Exception: what ``permit.files`` raises; nothing was sent then.
        """
        mail = _Mail(parcel, delivery, permit)

        def may_send() -> bool:
            return permit.owned() and permit.wanted(delivery) and self._outcomes.may_send()

        while True:
            if not self._outcomes.may_send():
                await self._outcomes.clear()
            # The last thing before it is sent, and again for each try: the rules may change while a mail waits.
            tls = parcel.content.tls is not None
            site = await self._routes.site_for(domain_of(delivery.to), tls=tls)
            if not isinstance(site, Site):
                return _without_site(parcel, delivery, site)
            self._shaper.check(site, parcel.tenant, parcel.lane, turn=turn)
            try:
                envelope = Envelope(_envelope_sender(parcel.content), delivery.to)
                if permit.files is None:
                    site, result = await self._send(mail, site, envelope, mail.make_data, may_send)
                else:
                    async with permit.files() as files:
                        # It may have waited long for them.
                        self._shaper.check(site, parcel.tenant, parcel.lane, turn=turn)
                        make_data = partial(mail.make_data, files)
                        site, result = await self._send(mail, site, envelope, make_data, may_send)
            except (TemplateProblem, Unbuildable, ValueError) as error:
                return Tried(delivery, Kind.FAILED, reason=f"the mail could not be built: {error}")
            if not isinstance(result.outcome, Abandoned):
                return self._finish(parcel, mail.delivery, site, result)
            permit.check(delivery)
            # The gate closed for a moment (too many unconfirmed outcomes), the rules changed, or the pool closes.
            await asyncio.sleep(GATE_PAUSE)

    async def _send(
        self, mail: "_Mail", site: Site, envelope: Envelope, make_data: MakeData, may_send: MaySend
    ) -> tuple[Site, Result]:
        """Send it from the egress that is its own, where there are any; the site as it was reached, and the result.

        Raises:
            NoEgress: none is open for it.
        """
        if self._departures is None or not self._departures.planned:
            return site, await self._pool.send(site, envelope, make_data, may_send)
        departure = await self._departures.depart(site, mail.parcel, mail.delivery)
        result: Result | None = None
        try:
            result = await self._pool.send(departure.site, envelope, make_data, may_send)
        finally:
            self._departures.arrived(departure, result)
        return departure.site, result

    def _finish(self, parcel: Parcel, delivery: Delivery, site: Site, result: Result) -> Tried:
        """What became of it; the rule that read its reply may act on the site."""
        if site.policy is not None and site.policy.trouble:
            result = replace(result, sessions=site.policy.take_trouble() + result.sessions)
        tried, reading = _read(parcel, delivery, site, result, self._replies())
        if site.source is not None:
            record_egress_attempt(site.source.name, tried.kind)
        if (rule := reading.rule) is not None and isinstance(result.outcome, Reply):
            self._automation.seen(rule, site.name, parcel.tenant, result.outcome)
        return tried


@dataclass(slots=True)
class _Mail:
    """A delivery that is made into a mail when a connection is in hand."""

    parcel: Parcel
    delivery: Delivery
    permit: Permit

    async def make_data(self, files: Sequence[File] = ()) -> WireData:
        """The mail; its delivery then has the signature that the next attempt can use again."""
        permit = self.permit
        permit.check(self.delivery)  # it may have waited long for its connection
        if permit.insure is not None:
            await permit.insure()
        if permit.signing is None:
            data = _wire_data(self.parcel, self.delivery, files)
        else:
            data, signature = await permit.signing.make_data(self.parcel, self.delivery, files)
            self.delivery = replace(self.delivery, signature=signature)
        if permit.begin is not None:
            await permit.begin(self.delivery)
        return data


def _wire_data(parcel: Parcel, delivery: Delivery, files: Sequence[File]) -> WireData:
    if parcel.content.signing is not None:
        # Nobody gave us what signs it: a mistake of ours, for a person to look at.
        raise RuntimeError("mail that is to be signed may not be sent unsigned")
    leave = leave_link(parcel, delivery)
    if files:
        return prepare_pieces(build_mail_with_files(parcel.content, delivery, parcel.accepted_at, files, leave))
    return prepare_data(build_mail(parcel.content, delivery, parcel.accepted_at, leave))


_REFUSED = {"5.3.4": "message_too_large", "5.6.7": "no_smtputf8", "5.6.9": "no_smtputf8"}
"""The classes of mail that no host of its site can be sent."""


def _envelope_sender(content: Content) -> str:
    return _address(content.sender) if content.envelope_sender is None else content.envelope_sender


@lru_cache(maxsize=2048)
def _address(mailbox: str) -> str:
    return parseaddr(mailbox)[1]


def _without_site(parcel: Parcel, delivery: Delivery, failure: DnsFailure | PolicyFailure) -> Tried:
    if isinstance(failure, PolicyFailure):
        sessions = failure.take_sessions()
        record_sessions(sessions)
        attempt = Attempt(
            number=parcel.attempt,
            at=time.time(),
            trouble=f"tls: {failure.text}",
            bounce_class=failure.problem.value,
            sessions=sessions,
        )
        return Tried(delivery, Kind.DEFERRED, attempt)
    kind = Kind.BOUNCED if failure.permanent else Kind.DEFERRED
    attempt = Attempt(
        number=parcel.attempt,
        at=time.time(),
        trouble=failure.text,
        bounce_class="bad_domain" if failure.permanent else "dns",
    )
    return Tried(delivery, kind, attempt, suppress=failure.permanent)


def _read(parcel: Parcel, delivery: Delivery, site: Site, result: Result, replies: ReplyRules) -> tuple[Tried, Reading]:
    reply: Reply | None = None
    trouble: str | None = None
    match result.outcome:
        case Reply() as reply:
            reading = read_reply(reply, _protocol_errors(delivery) + 1, replies, site.name)
        case Unreachable() as failure:
            trouble = f"{failure.kind}: {failure.text}"
            reading = _read_unreachable(parcel, failure)
        case Refused() as refused:
            trouble = f"{refused.enhanced} {refused.text}"
            reading = Reading(Kind.FAILED, _REFUSED.get(refused.enhanced, "cannot_send"))
        case Abandoned():
            raise Stale
        case _ as never:
            assert_never(never)
    attempt = Attempt(
        number=parcel.attempt,
        at=result.replied_at or time.time(),
        reply=reply,
        trouble=trouble,
        bounce_class=reading.bounce_class,
        site=site.name,
        host=result.host,
        duration=result.duration,
        tls=result.tls,
        tls_policy=result.tls_policy,
        sessions=result.sessions,
        egress=site.source.name if site.source is not None else "",
    )
    if result.sessions:
        record_sessions(result.sessions)
    reason = "the connection was lost after the final dot; it may have arrived" if _unknown(result) else None
    return Tried(delivery, reading.kind, attempt, reason, reading.suppress, reading.retry_in), reading


def _protocol_errors(delivery: Delivery) -> int:
    """How many of the attempts before this one, as far as it matters: 0 or 1."""
    return int(delivery.last is not None and delivery.last.bounce_class == PROTOCOL_ERROR)


def _unknown(result: Result) -> bool:
    return isinstance(result.outcome, Unreachable) and result.outcome.dot_sent


def _read_unreachable(parcel: Parcel, failure: Unreachable) -> Reading:
    names = {
        UnreachableKind.DNS: "dns",
        UnreachableKind.CONNECT: "no_answer",
        UnreachableKind.EGRESS: UNUSABLE,
        UnreachableKind.TIMEOUT: "no_answer",
        UnreachableKind.TLS: "tls",
        UnreachableKind.LOST: "bad_connection",
        UnreachableKind.PROTOCOL: "protocol_error",
    }
    name = failure.tls.value if failure.tls is not None else names[failure.kind]
    if failure.dot_sent and parcel.on_unknown is OnUnknown.HOLD:
        return Reading(Kind.HELD, name)
    if failure.dot_sent and parcel.on_unknown is OnUnknown.FAIL:
        return Reading(Kind.FAILED, name)
    return Reading(Kind.DEFERRED, name)
