"""The verdict table of settle."""

import uuid

import pytest

from mailwarren.contracts.settle import Question, Verdict
from mailwarren.store.states import ENDS, State
from mailwarren.tracker.domain.settle import Claim, judge
from mailwarren.tracker.domain.status import Status

ME, OTHER = uuid.uuid4(), uuid.uuid4()
V = Verdict


def question(attempt=2, turn=1, count=1):
    return Question(uuid.uuid4(), ME, "answers", (uuid.uuid4(),), attempt, turn, count)


def verdict(status, claim=None, *, canceled=False, **about):
    return judge(question(**about), status, claim, canceled=canceled).verdict


@pytest.mark.parametrize("end", sorted(ENDS))
def test_a_delivery_with_an_end_is_done_also_when_canceled(end):
    ended = Status(end, attempt=1, ended_at=1.0)
    assert verdict(ended) is V.DONE
    assert verdict(ended, canceled=True) is V.DONE


def test_a_withdrawn_email_is_canceled_before_anything_else_is_asked():
    assert verdict(Status(State.DEFERRED, attempt=1, started=2), Claim(OTHER, 9, 9), canceled=True) is V.CANCELED


def test_an_attempt_with_an_outcome_is_done():
    assert verdict(Status(State.DEFERRED, attempt=2)) is V.DONE
    assert verdict(Status(State.DEFERRED, attempt=3)) is V.DONE
    assert verdict(Status(State.DEFERRED, attempt=1)) is V.UNTOUCHED


def test_mail_data_that_was_begun_is_started_whoever_has_the_claim():
    assert verdict(Status(State.DEFERRED, attempt=1, started=2), Claim(OTHER, 9, 9)) is V.STARTED
    assert verdict(Status(State.DEFERRED, attempt=1, started=1)) is V.UNTOUCHED


@pytest.mark.parametrize("state", [State.ACCEPTED, State.PARKED, State.UNCONFIRMED])
def test_what_waits_for_a_replay_or_was_never_confirmed_is_untouched(state):
    assert verdict(Status(state)) is V.UNTOUCHED


@pytest.mark.parametrize(
    ("turn", "count", "expected"),
    [(1, 1, V.CLAIMED), (1, 2, V.CLAIMED), (2, 0, V.CLAIMED), (1, 0, V.UNTOUCHED), (0, 5, V.UNTOUCHED)],
)
def test_a_claim_of_another_holds_against_an_equal_or_older_holder(turn, count, expected):
    assert verdict(Status(State.ACCEPTED), Claim(OTHER, turn, count)) is expected


def test_the_same_asker_gets_the_same_answer_again():
    assert verdict(Status(State.ACCEPTED), Claim(ME, 5, 5)) is V.UNTOUCHED


def test_a_delivery_that_nobody_heard_of_is_claimed():
    asked = question()
    judgement = judge(asked, None, None, canceled=False)
    assert judgement == (V.UNTOUCHED, Claim(ME, asked.turn, asked.count))
    assert verdict(None, Claim(OTHER, 1, 1)) is V.CLAIMED


def test_only_an_untouched_delivery_is_claimed():
    for status in (
        Status(State.DELIVERED, ended_at=1.0),
        Status(State.DEFERRED, attempt=2),
        Status(State.ACCEPTED, started=2),
    ):
        assert judge(question(), status, None, canceled=False).claim is None
    assert judge(question(), None, Claim(OTHER, 1, 1), canceled=False).claim is None
