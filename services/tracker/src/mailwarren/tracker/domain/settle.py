"""The verdict on one delivery of a sender's question (DESIGN §6, settle)."""

from typing import NamedTuple
from uuid import UUID

import msgspec

from mailwarren.contracts.settle import Question, Verdict
from mailwarren.store.states import ENDS
from mailwarren.tracker.domain.status import Status


class Claim(msgspec.Struct, frozen=True):
    """Who may make an attempt: the sender process, and which holder of the parcel it was when it asked."""

    asker: UUID
    turn: int
    count: int


class Judgement(NamedTuple):
    """The answer for one delivery, and the claim to be written with it."""

    verdict: Verdict
    claim: Claim | None


def judge(question: Question, status: Status | None, claim: Claim | None, *, canceled: bool) -> Judgement:
    """What the asker may do with a delivery.

    A parcel passes to its next holder only after the holder before it is gone, so a claim yields to a greater
    (turn, count). A question that is repeated by the same asker gets the same answer.

    Args:
        question: the attempt that the asker wants to make, and who it is.
        status: what is known of the delivery; None when its acceptance has not been seen and nothing else either.
        claim: the claim on (delivery, attempt), None for none.
        canceled: a person has withdrawn the email.
    """
    if status is not None:
        ended = status.state in ENDS
        if canceled and not ended:
            return Judgement(Verdict.CANCELED, None)
        if ended or status.attempt >= question.attempt:
            return Judgement(Verdict.DONE, None)
        if status.started >= question.attempt:
            return Judgement(Verdict.STARTED, None)
    if claim and claim.asker != question.asker and (claim.turn, claim.count) >= (question.turn, question.count):
        return Judgement(Verdict.CLAIMED, None)
    return Judgement(Verdict.UNTOUCHED, Claim(question.asker, question.turn, question.count))
