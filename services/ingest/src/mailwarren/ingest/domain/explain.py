"""Why has it not been sent? What is known about one delivery, in one word and in a sentence.

The ledger says what was tried, the broker how long its queue is, the senders' heartbeats who is there, and the
overrides who is slowed down. None of them sees a single parcel in a queue or on the ladder: what follows from them is a
conclusion, and is worded as one.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parseaddr
from enum import StrEnum
from typing import Any
from uuid import UUID

from mailwarren.contracts.lanes import BUDGETS, Lane
from mailwarren.contracts.parcel import PARCEL_SIZE
from mailwarren.contracts.routing import domain_of
from mailwarren.contracts.shaping import MissingKeys
from mailwarren.contracts.shards import PROVIDERS
from mailwarren.contracts.sites import SMARTHOST
from mailwarren.ingest.domain.queues import Look
from mailwarren.ingest.domain.shaping import Held
from mailwarren.ingest.domain.spans import show_span
from mailwarren.store.states import ENDS, State


class WaitsFor(StrEnum):
    """What a delivery waits for."""

    NOTHING = "nothing"
    """It has an end."""
    PERSON = "person"
    """It is in ``mail.dead``."""
    CONFIRMATION = "confirmation"
    """The broker did not confirm it; a sender may have it all the same."""
    CANCELLATION = "cancellation"
    """The sender that meets it drops it."""
    SCHEDULE = "schedule"
    """Its time has not come."""
    RETRY = "retry"
    """It is on the ladder until its next attempt."""
    SHAPING = "shaping"
    """Its site or its tenant is suspended."""
    SENDER = "sender"
    """No live sender takes from its queue."""
    KEYS = "keys"
    """A sender cannot have the keys that its domain signs with."""
    EGRESS = "egress"
    """No address that it may be sent from is open: a warm-up's number of the day is used up, or checks failed."""
    QUEUE = "queue"
    """Others stand before it."""
    TURN = "turn"
    """It is at a sender, or just between two."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known around a delivery.

    ``queue`` and ``look`` are of its send queue; ``site`` where it goes, ``guessed`` when nothing was tried yet.
    ``overrides`` are those in force for its site and tenant. ``senders`` is how many live ones take from its queue,
    None while that is not known. ``files``: its email has attachments. ``missing`` are the DKIM keys of its domain,
    when a sender tells that it cannot have them. ``spent`` says why no egress is open for it.
    """

    now: datetime
    queue: str | None
    look: Look | None
    site: str | None
    guessed: bool
    overrides: Sequence[Held]
    senders: int | None
    files: bool = False
    missing: MissingKeys | None = None
    spent: str | None = None


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The next attempt is not before ``next_attempt_at``; ``ladder`` is the reason of its wait there."""

    waits_for: WaitsFor
    summary: str
    next_attempt_at: datetime | None = None
    ladder: str | None = None


def guess_site(shard: str | None, told: Collection[str]) -> str | None:
    """The site of mail that was not tried: of its shard, or the smarthost when senders tell of no other site."""
    if set(told) == {SMARTHOST}:
        return SMARTHOST
    # The shard "microsoft" is of its private mailboxes; business domains go by hash.
    return {"microsoft": "outlook"}.get(shard, shard) if shard in PROVIDERS else None


def budget_end(lane: Lane, accepted_at: datetime | None, expires_at: datetime | None, scale: float) -> datetime | None:
    """When it is given up at the latest; None before its acceptance is known."""
    if accepted_at is None:
        return expires_at
    end = accepted_at + timedelta(seconds=BUDGETS[lane] * scale)
    return end if expires_at is None else min(end, expires_at)


def explain(row: Mapping[str, Any], known: Known, *, canceled: bool, until: datetime | None) -> Conclusion:
    """Why a delivery is where it is.

    Args:
        row: of the ledger.
        known: what is around it.
        canceled: whether its email was withdrawn.
        until: the end of its budget.
    """
    state = State(row["state"])
    if state in ENDS:
        return Conclusion(WaitsFor.NOTHING, _ended(row, state))
    if state is State.PARKED:
        text = "It was set aside in mail.dead for a person: mailwarren dead list. A replay goes on with it."
        return Conclusion(WaitsFor.PERSON, text)
    if canceled:
        text = "It was canceled. The sender that meets it drops it, and says so then."
        return Conclusion(WaitsFor.CANCELLATION, text, row["next_attempt_at"])
    if state is State.UNCONFIRMED:
        text = "The broker did not confirm it. A sender may have it all the same; if none reports it, it ends failed."
        return Conclusion(WaitsFor.CONFIRMATION, text)
    if until is not None and until <= known.now:
        text = f"Its time ran out {_ago(until, known)}: the sender that meets it ends it as expired."
        return Conclusion(WaitsFor.TURN, text)
    return _on_its_way(row, known, state)


def explain_schedule(email: Mapping[str, Any], now: datetime) -> Conclusion:
    """Why an email that the ledger does not have yet is where it is.

    Args:
        email: as :func:`.scheduled.as_row` makes it.
        now: to tell how long it has to wait.
    """
    due, canceled, held = email["scheduled_at"], email["cancel_requested_at"], email["held_at"]
    if canceled is not None:
        return Conclusion(WaitsFor.NOTHING, f"It was canceled at {canceled:%Y-%m-%d %H:%M:%S} UTC, before its time.")
    if held is not None:
        text = (
            f"It was due {show_span((now - due).total_seconds())} ago and was found too late to be sent by surprise: "
            "release it, give it a new time, or cancel it."
        )
        return Conclusion(WaitsFor.PERSON, text)
    if due > now:
        text = f"It is scheduled for {due:%Y-%m-%d %H:%M:%S} UTC, in {show_span((due - now).total_seconds())}."
        return Conclusion(WaitsFor.SCHEDULE, text, due)
    return Conclusion(WaitsFor.TURN, "Its time has come: a scheduler releases it, or has just done so.", due)


def _on_its_way(row: Mapping[str, Any], known: Known, state: State) -> Conclusion:
    due = row["next_attempt_at"] if state is State.DEFERRED else None
    suspended = [one for one in known.overrides if one.suspend]
    if suspended:
        last = max(suspended, key=lambda one: one.until)
        later = last.until if due is None else max(due, last.until)
        text = f"{_whom(last, known)} is suspended for {_left(last.until, known)} more ({_cause(last)})."
        return Conclusion(WaitsFor.SHAPING, f"{text} It costs no attempt.{_tried(row)}", later, "shaped")
    limits = "".join(f" {_whom(one, known)} is {one.says} ({_cause(one)})." for one in known.overrides)
    if due is not None and due > known.now:
        text = f"Attempt {row['attempt']} was deferred; the next is in {_left(due, known)}.{_tried(row)}{limits}"
        return Conclusion(WaitsFor.RETRY, text, due, "deferred")
    if known.missing is not None:
        return Conclusion(WaitsFor.KEYS, f"{_unsigned(known.missing, known)}{_tried(row)}{limits}", due, "keys")
    if known.spent is not None:
        return Conclusion(WaitsFor.EGRESS, f"{known.spent}{_tried(row)}{limits}", due, "shaped")
    if known.senders == 0:
        text = f"No live sender takes from {known.queue}.{_tried(row)}{limits}"
        return Conclusion(WaitsFor.SENDER, text, due)
    return _in_line(row, known, due, limits, first=state is State.ACCEPTED)


def _in_line(row: Mapping[str, Any], known: Known, due: datetime | None, limits: str, *, first: bool) -> Conclusion:
    """Of mail that nothing holds up."""
    waiting = known.look.messages if known.look is not None else None
    if first and waiting:
        # Each message is a parcel: how many of them stand behind it, nobody can see.
        text = (
            f"At most {waiting} message{'s' * (waiting != 1)} of up to {PARCEL_SIZE} mails stand before it in "
            f"{known.queue}.{limits}"
        )
        return Conclusion(WaitsFor.QUEUE, text)
    if due is not None:
        text = (
            f"Its next attempt was due {_ago(due, known)}: it is on its way back from the ladder, waits for its turn, "
            f"or a sender asks first what became of the one before.{_fetched(known)}{_tried(row)}{limits}"
        )
        return Conclusion(WaitsFor.TURN, text, due)
    return Conclusion(WaitsFor.TURN, f"A sender has it, or is about to.{_fetched(known)}{limits}")


def _ended(row: Mapping[str, Any], state: State) -> str:
    when = row["ended_at"]
    at = f" at {when:%Y-%m-%d %H:%M:%S} UTC" if when is not None else ""
    words = {
        State.DELIVERED: "It was delivered",
        State.BOUNCED: "It was refused for good",
        State.FAILED: "It failed",
        State.EXPIRED: "Its time ran out without a yes",
        State.CANCELED: "It was canceled",
        State.SUPPRESSED: "It was not sent: the address is on the suppression list",
        State.HELD: "Nobody knows whether it was delivered, and the mail asked not to be sent again then",
    }
    return f"{words[state]}{at}.{_tried(row)}"


def _tried(row: Mapping[str, Any]) -> str:
    if row["reply_code"] is not None:
        enhanced, text = row["reply_enhanced"] or "", row["reply_text"] or ""
        said = [str(row["reply_code"]), "" if text.startswith(enhanced) else enhanced, text]
        return f" Last reply, of {row['host'] or 'the server'}: {' '.join(part for part in said if part)}."
    return f" Last attempt: {row['trouble']}." if row["trouble"] else ""


def _fetched(known: Known) -> str:
    if not known.files:
        return ""
    return " It has attachments: while a sender cannot fetch them, it waits on the ladder, at no cost of an attempt."


def find_missing(missing: Iterable[MissingKeys], tenant: UUID, sender: str) -> MissingKeys | None:
    """Those keys of which a mail waits that is from ``sender``: of the domain, or of one that it is below."""
    domain = domain_of(parseaddr(sender)[1])
    for one in missing:
        if one.tenant == tenant and (domain == one.domain or domain.endswith(f".{one.domain}")):
            return one
    return None


def _unsigned(missing: MissingKeys, known: Known) -> str:
    since = show_span(max(0.0, known.now.timestamp() - missing.since))
    return (
        f"For {since} a sender has not had the DKIM keys of {missing.domain} ({missing.why}): mail that is to be "
        "signed with them waits on the ladder, at no cost of an attempt, and is never sent unsigned."
    )


def _whom(held: Held, known: Known) -> str:
    if held.name != known.site:
        return "This tenant"
    return f"The site {held.name}, where it probably goes," if known.guessed else f"The site {held.name}"


def _cause(held: Held) -> str:
    return held.cause + (f": {held.sample}" if held.sample else "")


def _left(when: datetime, known: Known) -> str:
    return show_span((when - known.now).total_seconds())


def _ago(when: datetime, known: Known) -> str:
    return show_span((known.now - when).total_seconds()) + " ago"
