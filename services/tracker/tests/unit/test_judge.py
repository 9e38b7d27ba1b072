"""The verdict table of settle."""

import uuid

import pytest
from msgspec.structs import replace

from mailwarren.contracts.ids import new_id
from mailwarren.contracts.settle import Question, Verdict
from mailwarren.store.states import ENDS, State
from mailwarren.tracker.domain.settle import CLOCKS, Claim, Terms, judge
from mailwarren.tracker.domain.status import Status

ME, OTHER = uuid.uuid4(), uuid.uuid4()
V = Verdict
NOW = 1_790_000_000.0
TERMS = Terms(hearing=10.0, lease=600.0)
STARTED = Status(State.DEFERRED, attempt=1, started=2)


def put_at(at):
    """A question's id, made at this time."""
    return uuid.UUID(int=(int(at * 1000) << 80) | (new_id().int & ((1 << 80) - 1)))


def question(attempt=2, turn=1, count=1, at=NOW):
    return Question(put_at(at), ME, "answers", (uuid.uuid4(),), attempt, turn, count)


def held(turn, count, *, asker=OTHER, at=NOW - 1, contested=False):
    return Claim(asker, turn, count, put_at(at), at, contested)


def judged(status, claim=None, *, canceled=False, now=NOW, **about):
    return judge(question(**about), status, claim, canceled=canceled, now=now, terms=TERMS)


def verdict(*given, **about):
    return judged(*given, **about).verdict


@pytest.mark.parametrize("end", sorted(ENDS))
def test_a_delivery_with_an_end_is_done_also_when_canceled(end):
    ended = Status(end, attempt=1, ended_at=1.0)
    assert verdict(ended) is V.DONE
    assert verdict(ended, canceled=True) is V.DONE


def test_a_withdrawn_email_is_canceled_before_anything_else_is_asked():
    assert verdict(STARTED, held(9, 9), canceled=True) is V.CANCELED


def test_an_attempt_with_an_outcome_is_done():
    assert verdict(Status(State.DEFERRED, attempt=2)) is V.DONE
    assert verdict(Status(State.DEFERRED, attempt=3)) is V.DONE
    assert verdict(Status(State.DEFERRED, attempt=1)) is V.UNTOUCHED


def test_mail_data_that_was_begun_without_a_claim_is_started():
    assert verdict(STARTED) is V.STARTED
    assert verdict(Status(State.DEFERRED, attempt=1, started=1)) is V.UNTOUCHED


def test_what_a_living_holder_of_another_copy_has_begun_is_claimed_and_not_started():
    for rank in ((1, 1), (1, 2), (2, 0), (9, 9)):
        assert verdict(STARTED, held(*rank)) is V.CLAIMED
    assert verdict(STARTED, held(1, 0, contested=True)) is V.CLAIMED


def test_what_a_dead_holder_has_begun_is_started_for_the_next_holder_of_its_parcel_who_takes_the_claim():
    answered, claim = judged(STARTED, held(1, 0))
    assert answered is V.STARTED
    assert (claim.asker, claim.rank) == (ME, (1, 1))


@pytest.mark.parametrize("state", [State.ACCEPTED, State.PARKED, State.UNCONFIRMED])
def test_what_waits_for_a_replay_or_was_never_confirmed_is_untouched(state):
    assert verdict(Status(state)) is V.UNTOUCHED


@pytest.mark.parametrize("rank", [(1, 1), (1, 2), (2, 0)])
def test_a_claim_of_another_holds_against_an_equal_or_lower_rank_for_ever(rank):
    for age in (0, 10, 10**6):
        assert verdict(Status(State.ACCEPTED), held(*rank, at=NOW - age)) is V.CLAIMED


def test_a_rank_that_does_not_rise_shows_a_second_copy():
    for rank in ((1, 1), (2, 0)):
        claim = held(*rank)
        assert judged(None, claim) == (V.CLAIMED, replace(claim, contested=True))
        assert judged(None, replace(claim, contested=True)) == (V.CLAIMED, None)


def test_the_parcel_of_a_lost_connection_takes_its_claim_over_at_once():
    answered, claim = judged(None, held(1, 0))
    assert answered is V.UNTOUCHED
    assert (claim.asker, claim.rank, claim.at, claim.contested) == (ME, (1, 1), NOW, False)
    assert verdict(None, held(1, 1), count=2) is V.UNTOUCHED


def test_a_parcel_that_was_put_back_unanswered_takes_its_claim_over_at_once():
    assert verdict(None, held(1, 0), turn=2, count=0) is V.UNTOUCHED
    assert verdict(None, held(0, 0), turn=3, count=1) is V.UNTOUCHED


def test_a_greater_turn_waits_for_a_claim_made_with_a_count_which_may_be_the_other_half_of_a_fork():
    claim = held(1, 1, at=NOW - TERMS.lease + 1)
    assert judged(None, claim, turn=2, count=0) == (V.CLAIMED, None)
    assert verdict(None, claim, turn=2, count=0, now=NOW + 1) is V.UNTOUCHED


def test_a_contested_claim_holds_until_it_runs_out():
    claim = held(1, 0, at=NOW - TERMS.lease + 1, contested=True)
    assert verdict(None, claim) is V.CLAIMED
    assert verdict(None, claim, turn=2, count=0) is V.CLAIMED
    answered, made = judged(None, claim, now=NOW + 1)
    assert answered is V.UNTOUCHED
    assert made.contested  # what was seen once may be there still


def test_a_claim_whose_answer_came_too_late_for_its_asker_yields_to_any_greater_rank():
    late = judged(None, at=NOW - TERMS.hearing - CLOCKS - 0.1).claim
    for claim in (late, replace(late, contested=True)):
        theirs = replace(claim, asker=OTHER)
        assert verdict(None, theirs, turn=2, count=0) is V.UNTOUCHED
        assert verdict(None, theirs, turn=1, count=1) is V.CLAIMED
    heard = replace(judged(None, at=NOW - TERMS.hearing).claim, asker=OTHER)
    assert verdict(None, heard, turn=2, count=0) is V.CLAIMED


@pytest.mark.parametrize("ahead", [5, 3600])
def test_an_asker_whose_clock_is_ahead_counts_as_having_heard(ahead):
    claim = judged(None, at=NOW + ahead).claim
    assert claim.at == NOW


def test_a_question_whose_id_tells_no_time_counts_as_heard():
    asked = replace(question(), id=uuid.UUID(int=0))
    assert judge(asked, None, None, canceled=False, now=NOW, terms=TERMS).claim.at == NOW


def test_the_same_asker_has_one_parcel_at_a_time_and_gets_it_again():
    answered, claim = judged(None, held(5, 5, asker=ME))
    assert answered is V.UNTOUCHED
    assert claim.rank == (5, 5)  # what would take over the one must not take over the other
    assert claim.contested
    assert not judged(None, held(1, 0, asker=ME)).claim.contested


def test_the_same_question_read_again_is_answered_again_and_shows_no_second_copy():
    asked = question()
    claim = judge(asked, None, None, canceled=False, now=NOW, terms=TERMS).claim
    again = judge(asked, None, claim, canceled=False, now=NOW + 9, terms=TERMS)
    assert again == (V.UNTOUCHED, replace(claim, at=NOW + 9))
    # Nobody hears this one, but the first answer may have been heard.
    assert judge(asked, None, claim, canceled=False, now=NOW + 99, terms=TERMS) == (V.UNTOUCHED, claim)


def test_a_delivery_that_nobody_heard_of_is_claimed():
    asked = question()
    judgement = judge(asked, None, None, canceled=False, now=NOW, terms=TERMS)
    assert judgement == (V.UNTOUCHED, Claim(ME, asked.turn, asked.count, asked.id, NOW))
    assert verdict(None, held(1, 1)) is V.CLAIMED


def test_nobody_claims_what_needs_no_attempt():
    for status in (Status(State.DELIVERED, ended_at=1.0), Status(State.DEFERRED, attempt=2)):
        assert judged(status).claim is None
    assert judged(Status(State.ACCEPTED), canceled=True).claim is None
