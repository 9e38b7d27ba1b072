"""What follows from a look at a domain's records: its state, which of its keys sign, and when to look again."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import msgspec

from mailwarren.ingest.domain.dns_records import Finding, KeyFacts, Purpose, Wanted
from mailwarren.store.states import DomainState, KeyState

GRACE = timedelta(hours=72)
"""How long a domain may be without its records until it has failed."""
SOON, OFTEN, HOURLY, SELDOM = timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6)
MAY_SEND = frozenset({DomainState.VERIFIED, DomainState.TEMPORARY_FAILURE})
"""States of a domain that mail may come from where only verified ones may send."""


class Standing(msgspec.Struct, frozen=True):
    """How a domain stood before the look."""

    state: DomainState
    created_at: datetime
    failing_since: datetime | None = None


class Verdict(msgspec.Struct, frozen=True):
    """How it stands after it.

    ``returns`` None: nothing is known about the return path now. ``tracks``: the same of the host of tracked links.
    """

    state: DomainState
    failing_since: datetime | None
    returns: bool | None
    tracks: bool | None = False


def conclude(before: Standing, looked: Sequence[tuple[Wanted, Finding]], now: datetime) -> Verdict:
    """The domain's state: a DNS that does not answer changes nothing, a wrong record is forgiven for a while."""
    needed = [finding.state for wanted, finding in looked if wanted.needed]
    returns = _returns(looked)
    if DomainState.FAILED not in needed:
        if all(state is DomainState.VERIFIED for state in needed):
            return Verdict(DomainState.VERIFIED, None, returns)
        unchanged = DomainState.PENDING if before.state is DomainState.NOT_STARTED else before.state
        return Verdict(unchanged, before.failing_since, returns)
    if before.state in MAY_SEND:
        since = before.failing_since or now
        state = DomainState.FAILED if now - since >= GRACE else DomainState.TEMPORARY_FAILURE
        return Verdict(state, since, returns)
    if before.state is DomainState.FAILED or now - before.created_at >= GRACE:
        return Verdict(DomainState.FAILED, before.failing_since or now, returns)
    return Verdict(DomainState.PENDING, None, returns)


def _returns(looked: Sequence[tuple[Wanted, Finding]]) -> bool | None:
    """Whether bounces come back and SPF passes the return path."""
    states = [finding.state for wanted, finding in looked if wanted.purpose in {Purpose.BOUNCES, Purpose.SPF}]
    bounces = any(wanted.purpose is Purpose.BOUNCES for wanted, _ in looked)
    if not bounces or DomainState.FAILED in states:
        return False
    return None if DomainState.TEMPORARY_FAILURE in states else True


def tracks(looked: Iterable[tuple[Wanted, Finding]]) -> bool | None:
    """Whether tracked links may lead over the domain's own host."""
    states = [finding.state for wanted, finding in looked if wanted.purpose is Purpose.TRACKING]
    if DomainState.TEMPORARY_FAILURE in states:
        return None
    return DomainState.VERIFIED in states


def seen_keys(looked: Iterable[tuple[Wanted, Finding]]) -> list[KeyFacts]:
    """The keys that wait for their record and now have it: they sign from now on."""
    return [
        wanted.key
        for wanted, finding in looked
        if wanted.key is not None and wanted.key.state is KeyState.NEXT and finding.state is DomainState.VERIFIED
    ]


def next_check(state: DomainState, waiting_since: datetime, now: datetime, *, keys_wait: bool) -> datetime:
    """When to look at a domain's records again.

    Args:
        state: of the domain.
        waiting_since: when it was made, or the newest of its keys.
        now: the time.
        keys_wait: whether a key waits for its record.
    """
    if state is DomainState.TEMPORARY_FAILURE:
        return now + OFTEN
    if state is DomainState.VERIFIED and not keys_wait:
        return now + HOURLY
    age = now - waiting_since
    if age < timedelta(hours=1):
        return now + SOON
    return now + (OFTEN if age < GRACE else SELDOM if state is not DomainState.VERIFIED else HOURLY)
