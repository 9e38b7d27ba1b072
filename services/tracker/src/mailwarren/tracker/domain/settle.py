"""The verdict on one delivery of a sender's question (DESIGN §6, settle; ``docs/adr/0006``).

Of one delivery there may be several copies under way, and of each copy several holders one after another. A claim says
which holder may send. It passes to the next holder of the *same* copy, for the one before it is gone then; against the
holder of *another* copy it stands until it has run out. A question does not say which copy it is about, but its rank
(turn, count) rises from holder to holder of a copy: a rank that does not rise is the proof of a second copy.
"""

from typing import NamedTuple
from uuid import UUID

import msgspec
from msgspec.structs import replace

from mailwarren.contracts.settle import Question, Verdict
from mailwarren.store.states import ENDS
from mailwarren.tracker.domain.status import Status

CLOCKS = 2.0
"""Seconds that an asker's clock and ours may differ."""
TIME_ORDERED = 7
"""The version of a UUID that begins with its time (RFC 9562 §5.7)."""


class Terms(NamedTuple):
    """Spans that the senders keep to, in seconds."""

    hearing: float = 10.0
    """An asker waits as long for its answer; nobody acts on a later one."""
    lease: float = 600.0
    """A claim holds as long against another copy: time for its holder to write its mail data and have the reply."""


class Claim(msgspec.Struct, frozen=True):
    """Who may make an attempt, and which holder of a copy it was when it asked.

    ``turn`` and ``count`` are the highest that this claim was made with, ``question`` is the one that made it (None
    for a claim of an earlier version).
    ``at`` (Unix seconds) is when its holder was told, long ago when the answer came too late for it.
    ``contested`` says that there is, or was, another copy of the delivery.
    """

    asker: UUID
    turn: int
    count: int
    question: UUID | None
    at: float
    contested: bool = False

    @property
    def rank(self) -> tuple[int, int]:
        """Orders the holders of one copy."""
        return self.turn, self.count


class Judgement(NamedTuple):
    """The answer for one delivery, and the claim to be written with it; None when the one that is written stands."""

    verdict: Verdict
    claim: Claim | None


def judge(
    question: Question, status: Status | None, claim: Claim | None, *, canceled: bool, now: float, terms: Terms
) -> Judgement:
    """What the asker may do with a delivery.

    The claim is judged before a start of the attempt is looked at: what a living holder has started is not unknown.

    Args:
        question: the attempt that the asker wants to make, and who it is.
        status: what is known of the delivery; None when its acceptance has not been seen and nothing else either.
        claim: the claim on (delivery, attempt), None for none.
        canceled: a person has withdrawn the email.
        now: Unix seconds.
        terms: how long an asker listens and a claim lasts.
    """
    if status is not None:
        ended = status.state in ENDS
        if canceled and not ended:
            return Judgement(Verdict.CANCELED, None)
        if ended or status.attempt >= question.attempt:
            return Judgement(Verdict.DONE, None)
    started = status is not None and status.started >= question.attempt
    granted = Verdict.STARTED if started else Verdict.UNTOUCHED
    mine = _claim(question, now, terms)
    if claim is None:
        return Judgement(granted, mine)
    if claim.question == question.id:
        # Read again, after a crash of ours: the same answer.
        return Judgement(granted, replace(claim, at=max(claim.at, mine.at)))
    contested = claim.contested or mine.rank <= claim.rank
    if claim.asker != question.asker and not _yields(claim, mine.rank, now, terms):
        return Judgement(Verdict.CLAIMED, replace(claim, contested=True) if contested > claim.contested else None)
    turn, count = max(mine.rank, claim.rank)
    return Judgement(granted, replace(mine, turn=turn, count=count, contested=contested))


def _yields(claim: Claim, rank: tuple[int, int], now: float, terms: Terms) -> bool:
    """Whether a claim passes to another asker of this rank."""
    if rank <= claim.rank:
        return False
    if now - claim.at >= terms.lease:
        return True
    if claim.contested:
        # Perhaps the next holder of the other copy, and ours is alive.
        return False
    turn, _ = rank
    # The same turn: the broker gave the parcel to the next because the connection of its holder is lost. A greater one:
    # its holder put it back unanswered. But when a sender dies in the middle of that, its parcel goes on twice: as it
    # was, with a count, and with the greater turn. So a claim that was made with a count may be of the other half.
    return turn == claim.turn or claim.count == 0


def _claim(question: Question, now: float, terms: Terms) -> Claim:
    heard = now - _put_at(question, now) <= terms.hearing + CLOCKS
    at = now if heard else now - terms.lease
    return Claim(question.asker, question.turn, question.count, question.id, at)


def _put_at(question: Question, now: float) -> float:
    """When a question was put, by its asker's clock: Unix seconds, ``now`` when its id does not tell."""
    return (question.id.int >> 80) / 1000 if question.id.version == TIME_ORDERED else now
