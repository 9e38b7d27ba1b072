"""The use case: idempotency claim → domain, expiry and suppression → room → parcels → publish → yes (DESIGN §4).

Everything that can be known beforehand is decided before the first publish, so that nothing of an atomic request is
half sent for such a reason. After it, an email is accepted when the broker confirmed all parcels that carry it.

* One email: all confirmed, or 503.
* An email with ``scheduled_at`` is kept in Postgres instead (:mod:`.scheduling`), after all others were published; the
  commit is its confirm.
* An atomic batch (strict): 503 when no email was confirmed, otherwise yes with ``errors`` for the others; that is the
  one case in which a strict answer has errors.
* A tolerant request (permissive batch, bulk): errors by row; 503 when there was no room for any row, or when no row
  was confirmed.

A keyed answer is kept for replay when it is final: a row that failed for want of room or of a confirm may be tried
again by repeating the call, which settles what was sent before.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec
import structlog

from mailwarren.contracts.ids import new_id, nth_id
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.parcel import Attachment
from mailwarren.contracts.routing import domain_of
from mailwarren.contracts.shards import shard_of
from mailwarren.ingest.adapters.attachments import EmailAttachments
from mailwarren.ingest.adapters.broker import Broker, Said
from mailwarren.ingest.adapters.database import DatabaseDown
from mailwarren.ingest.adapters.depths import Depths
from mailwarren.ingest.adapters.idempotency import Claim, Claims
from mailwarren.ingest.adapters.pauses import Pauses
from mailwarren.ingest.adapters.scheduled import Schedule
from mailwarren.ingest.adapters.sending_domains import SendingDomains
from mailwarren.ingest.adapters.suppressions import Suppressions
from mailwarren.ingest.adapters.unconfirmed import Unconfirmed
from mailwarren.ingest.domain.admission import Full, Marks, room_for
from mailwarren.ingest.domain.email import Numbered, RowError, SendEmail
from mailwarren.ingest.domain.idempotency import PUBLISH_WITHIN, Replay
from mailwarren.ingest.domain.keys import ApiKey
from mailwarren.ingest.domain.list_mail import Left, by_topic
from mailwarren.ingest.domain.parcels import Plan, PlannedParcel, plan_parcels
from mailwarren.ingest.domain.refusal import Refusal, invalid, unavailable
from mailwarren.ingest.domain.unsubscribe_links import Links
from mailwarren.ingest.metrics import record_accepted, record_idempotent, record_no_room, record_unchecked
from mailwarren.ingest.scheduling import Times, keep

log = structlog.get_logger()

LATEST_EXPIRY = 31 * 86400.0
"""Seconds ahead that ``expires_at`` may lie: longer than any mail is tried."""


NO_KEYS = "Idempotency keys cannot be checked right now. Try again; mail without an Idempotency-Key is accepted."


class CallForm(StrEnum):
    """The three ways to send."""

    SINGLE = "single"
    BATCH = "batch"
    BULK = "bulk"


class Keyed(msgspec.Struct, frozen=True):
    """An Idempotency-Key and the fingerprint of its request."""

    key: str
    fingerprint: bytes


class Submission(msgspec.Struct, frozen=True):
    """A validated request. ``errors`` are rows that validation left out; only a tolerant request has any."""

    caller: ApiKey
    form: CallForm
    emails: Sequence[tuple[int, SendEmail]]
    errors: Sequence[RowError] = ()
    tolerant: bool = False
    keyed: Keyed | None = None
    trace: str | None = None
    """The call's ``traceparent``."""


class Acceptance(msgspec.Struct, frozen=True):
    """What was accepted. ``final`` is false when a repeat of the call could get more rows through."""

    base: UUID
    accepted: Sequence[Numbered] = ()
    errors: Sequence[RowError] = ()
    final: bool = True
    published: bool = False


class Answered(msgspec.Struct, frozen=True):
    """The bytes for the caller."""

    status: int
    body: bytes
    replayed: bool = False


@dataclass(slots=True)
class _Work:
    """A submission on its way: ids given, emails falling out with their reasons."""

    submission: Submission
    base: UUID
    settle: bool
    emails: list[Numbered]
    errors: list[RowError] = field(default_factory=list)
    final: bool = True
    published: bool = False
    due: dict[int, datetime] = field(default_factory=dict)
    """When to send those that are scheduled, by their index."""

    @property
    def at_once(self) -> list[Numbered]:
        """Those that are published now."""
        return [numbered for numbered in self.emails if numbered.index not in self.due] if self.due else self.emails

    def drop(self, reasons: dict[int, str]) -> None:
        self.emails = [numbered for numbered in self.emails if numbered.index not in reasons]
        self.errors.extend(RowError(index, message) for index, message in reasons.items())


class Submit:
    """Accepts mail."""

    def __init__(
        self,
        *,
        broker: Broker,
        depths: Depths,
        marks: Marks,
        claims: Claims,
        suppressions: Suppressions,
        unconfirmed: Unconfirmed,
        schedule: Schedule,
        attached: EmailAttachments,
        domains: SendingDomains,
        links: Links,
        pauses: Pauses,
    ) -> None:
        self._broker = broker
        self._depths = depths
        self._marks = marks
        self._claims = claims
        self._suppressions = suppressions
        self._unconfirmed = unconfirmed
        self._schedule = schedule
        self._attached = attached
        self._domains = domains
        self._pauses = pauses
        self._links = links

    async def submit(self, submission: Submission, answer: Callable[[Acceptance], Answered]) -> Answered:
        """Send it; ``answer`` makes the bytes, which a keyed call keeps.

        Raises:
            Refusal: nothing was accepted, or (503) it is not known to be.
        """
        if submission.keyed is None:
            return answer(await self._run(_work(submission, new_id(), settle=False)))
        claim = await self._claim(
            submission.caller.tenant, submission.keyed, len(submission.emails) + len(submission.errors)
        )
        if isinstance(claim, Replay):
            return Answered(claim.status, claim.answer, replayed=True)
        # Also the first copy of a keyed call is settled: a repeat may be on its way to another sender while this one
        # is being sent, and only a claim keeps the two from sending both.
        work = _work(submission, claim.base, settle=True)
        try:
            acceptance = await self._run(work)
            answered = answer(acceptance)
        except BaseException:
            await (self._claims.release(claim) if work.published else self._claims.forget(claim))
            raise
        if acceptance.final:
            await self._claims.answered(claim, answered.status, answered.body)
        else:
            await self._claims.release(claim)
        return answered

    async def replayed(self, caller: ApiKey, keyed: Keyed) -> Answered | None:
        """The answer that a call with this key got, before anything else is done for its repeat.

        Raises:
            Refusal: as :meth:`submit` for a key in use; 503 when keys cannot be checked.
        """
        try:
            found = await self._claims.answer(caller.tenant, keyed.key, keyed.fingerprint)
        except DatabaseDown as error:
            raise unavailable(NO_KEYS) from error
        if found is None:
            return None
        record_idempotent("replayed")
        return Answered(found.status, found.answer, replayed=True)

    async def _claim(self, tenant: UUID, keyed: Keyed, rows: int) -> Claim | Replay:
        try:
            claim = await self._claims.claim(tenant, keyed.key, keyed.fingerprint, rows)
        except DatabaseDown as error:
            raise unavailable(NO_KEYS) from error
        except Refusal as refusal:
            record_idempotent(refusal.name)
            raise
        if isinstance(claim, Replay):
            record_idempotent("replayed")
        elif claim.repeated:
            record_idempotent("taken_over")
        return claim

    async def _run(self, work: _Work) -> Acceptance:
        structlog.contextvars.bind_contextvars(base=str(work.base))
        self._check_senders(work)
        self._check_expiry(work)
        # A bulk call has one time, which its first row has too.
        asked = work.emails[:1] if work.submission.form is CallForm.BULK else work.emails
        if any(numbered.email.scheduled_at is not None for numbered in asked):
            times = Times()
            _check_each(work, times.check)
            work.due = times.due(work.emails)
        self._check_room(work)
        if work.submission.form is CallForm.SINGLE and (files := work.emails[0].email.content.attachments):
            await self._attach(work, files)
        if failed := await self._send(work) | await self._keep(work):
            work.final = False
            if len(failed) == len(work.emails):
                raise unavailable(next(iter(failed.values())))
            work.drop(failed)
        errors = sorted(work.errors, key=lambda error: error.index)
        return Acceptance(work.base, work.emails, errors, work.final, work.published)

    async def _keep(self, work: _Work) -> dict[int, str]:
        if not work.due:
            return {}
        call, emails = work.submission, [numbered for numbered in work.emails if numbered.index in work.due]
        # Also an insert without an answer may have been done.
        work.published = True
        bulk = call.form is CallForm.BULK
        return await keep(self._schedule, call.caller.tenant, work.base, emails, work.due, bulk=bulk, trace=call.trace)

    async def _send(self, work: _Work) -> dict[int, str]:
        """Publish what is to be sent now; what the broker does not have for certain, with the reason."""
        if emails := work.at_once:
            suppressed, left = await self._suppressed(work)
            plan = Plan(
                tenant=work.submission.caller.tenant,
                base=work.base,
                accepted_at=time.time(),
                request_id=work.base if work.submission.form is CallForm.BULK else None,
                settle=work.settle,
                trace=work.submission.trace,
            )
            sign = self._domains.signing(plan)
            parcels = plan_parcels(plan, emails, suppressed, new_id, sign=sign, left=left)
            return await self._publish(work, parcels)
        return {}

    def _check_senders(self, work: _Work) -> None:
        caller = work.submission.caller
        self._domains.check_loaded()

        def check(email: SendEmail) -> None:
            caller.check_sender(email.sender_domain)
            self._domains.check_sender(caller.tenant, email.sender_domain)
            self._pauses.check(caller.tenant, email.lane)
            if email.content.tracking is not None:
                self._domains.check_tracking(email.content.tracking)

        _check_each(work, check)

    def _check_expiry(self, work: _Work) -> None:
        now = time.time()

        def check(email: SendEmail) -> None:
            if email.expires_at is None:
                return
            if email.expires_at <= now:
                raise invalid("Invalid `expires_at` field: it is in the past.")
            if email.expires_at > now + LATEST_EXPIRY:
                days = f"{LATEST_EXPIRY / 86400:.0f}"
                raise invalid(
                    f"Invalid `expires_at` field: it is more than {days} days ahead. No mail is tried so long."
                )

        _check_each(work, check)

    def _check_room(self, work: _Work) -> None:
        state = self._depths.state
        lane: Lane | None = None
        known: dict[str, Full | None] = {}
        refused: dict[int, str] = {}
        full: Full | None = None
        for numbered in work.at_once:
            email = numbered.email
            if email.lane is not lane:  # once in a bulk call
                lane, known = email.lane, {}
            for recipient in email.recipients:
                shard = shard_of(domain_of(recipient.address))
                if shard not in known:
                    known[shard] = room_for(lane, shard, state, self._marks)
                if found := known[shard]:
                    full = found
                    refused[numbered.index] = f"{found.message} Send this one again later."
        if full is None:
            return
        record_no_room(full.reason, len(refused))
        if not work.submission.tolerant or len(refused) == len(work.emails):
            raise unavailable(f"{full.message} Nothing was accepted; try again.")
        work.drop(refused)
        work.final = False

    async def _suppressed(self, work: _Work) -> tuple[frozenset[str], Left]:
        tenant = work.submission.caller.tenant
        addresses = {recipient.key for numbered in work.at_once for recipient in numbered.email.recipients}
        found = await self._suppressions.among(tenant, addresses)
        listed = by_topic(numbered.email for numbered in work.at_once)
        who = await self._suppressions.left(tenant, listed) if listed else {}
        if found is None or who is None:
            record_unchecked()
        return found or frozenset(), Left(self._links, tenant, work.base, who or {})

    async def _attach(self, work: _Work, files: Sequence[Attachment]) -> None:
        """Write which files the email has, before anybody may ask for them."""
        try:
            await self._attached.add(work.submission.caller.tenant, work.emails[0].id, files)
        except DatabaseDown as error:
            raise unavailable("Attachments cannot be recorded right now. Nothing was accepted; try again.") from error

    async def _publish(self, work: _Work, planned: Iterable[PlannedParcel]) -> dict[int, str]:
        within = PUBLISH_WITHIN if work.submission.keyed else None
        # From here on mail may be in the broker, whatever happens to this call.
        work.published = True
        results = await self._broker.publish(planned, within)
        work.published = not {said for _, said in results} <= {Said.NOT_STORED, Said.UNROUTABLE}
        failed: dict[int, str] = {}
        for item, said in results:
            if said is Said.CONFIRMED:
                self._confirmed(work, item)
            else:
                failed.update(dict.fromkeys(item.indexes, _trouble(said)))
            if said is Said.UNCONFIRMED:
                self._unconfirmed.add(item.parcel)
        return failed

    def _confirmed(self, work: _Work, item: PlannedParcel) -> None:
        deliveries = item.parcel.deliveries
        suppressed = sum(delivery.suppressed for delivery in deliveries)
        record_accepted(item.parcel.lane.value, len(deliveries) - suppressed, suppressed)
        if work.settle:
            self._unconfirmed.settled(delivery.id for delivery in deliveries)


def _work(submission: Submission, base: UUID, *, settle: bool) -> _Work:
    keyed = submission.keyed is not None

    def ident(index: int) -> UUID:
        if submission.form is CallForm.SINGLE:
            return base
        return nth_id(base, index) if keyed else new_id()

    emails = [Numbered(index, ident(index), email) for index, email in submission.emails]
    return _Work(submission, base, settle, emails, list(submission.errors))


def _check_each(work: _Work, check: Callable[[SendEmail], None]) -> None:
    if work.submission.form is CallForm.BULK:
        # What is checked here stands once in a bulk call, for all its rows.
        for numbered in work.emails[:1]:
            check(numbered.email)
        return
    reasons: dict[int, str] = {}
    for numbered in work.emails:
        try:
            check(numbered.email)
        except Refusal as refusal:
            if not work.submission.tolerant:
                raise
            reasons[numbered.index] = refusal.message
    if reasons:
        work.drop(reasons)


def _trouble(said: Said) -> str:
    if said is Said.UNCONFIRMED:
        return (
            "The broker did not confirm this mail: it may be sent or not. "
            "Repeat the call with the same Idempotency-Key, if it had one."
        )
    if said is Said.UNROUTABLE:
        return "A queue of this service does not exist; its operator has been told. Nothing of this mail was sent."
    return "The message broker did not take this mail. Nothing of it was sent; try again."
