"""The transition table, pair by pair, and what holds for any order of a delivery's events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwarren.contracts.events import Kind
from mailwarren.store.states import ENDS, State
from mailwarren.tracker.domain.status import TRANSITIONS, UNHEARD, Status, next_status, surely_new

S = State
# (state, kind) -> state, for an event of attempt 2 at time 50, met by a delivery whose last outcome was attempt 1 (or
# none), which was parked before attempt 2 (or never), and which ended at time 100 (or not).
EXPECTED = {
    S.ACCEPTED: {
        "started": S.ACCEPTED, "deferred": S.DEFERRED, "delivered": S.DELIVERED, "bounced": S.BOUNCED,
        "failed": S.FAILED, "expired": S.EXPIRED, "canceled": S.CANCELED, "suppressed": S.SUPPRESSED,
        "held": S.HELD, "parked": S.PARKED, "unconfirmed": S.UNCONFIRMED,
    },
    S.UNCONFIRMED: {
        "started": S.ACCEPTED, "deferred": S.DEFERRED, "delivered": S.DELIVERED, "bounced": S.BOUNCED,
        "failed": S.FAILED, "expired": S.EXPIRED, "canceled": S.CANCELED, "suppressed": S.SUPPRESSED,
        "held": S.HELD, "parked": S.PARKED, "unconfirmed": S.UNCONFIRMED,
    },
    S.DEFERRED: {
        "started": S.DEFERRED, "deferred": S.DEFERRED, "delivered": S.DELIVERED, "bounced": S.BOUNCED,
        "failed": S.FAILED, "expired": S.EXPIRED, "canceled": S.CANCELED, "suppressed": S.SUPPRESSED,
        "held": S.HELD, "parked": S.PARKED, "unconfirmed": S.DEFERRED,
    },
    S.PARKED: {
        "started": S.PARKED, "deferred": S.DEFERRED, "delivered": S.DELIVERED, "bounced": S.BOUNCED,
        "failed": S.FAILED, "expired": S.EXPIRED, "canceled": S.CANCELED, "suppressed": S.SUPPRESSED,
        "held": S.HELD, "parked": S.PARKED, "unconfirmed": S.PARKED,
    },
}  # fmt: skip
BEFORE = {
    S.ACCEPTED: Status(S.ACCEPTED),
    S.UNCONFIRMED: Status(S.UNCONFIRMED),
    S.DEFERRED: Status(S.DEFERRED, attempt=1),
    S.PARKED: Status(S.PARKED, attempt=1, parked=2),
}
PAIRS = [(state, kind) for state in State for kind in Kind]


def test_the_table_names_every_pair():
    assert set(TRANSITIONS) == set(State)
    assert all(set(row) == set(Kind) for row in TRANSITIONS.values())


@pytest.mark.parametrize(("state", "kind"), PAIRS)
def test_every_pair_of_state_and_kind(state, kind):
    if state not in ENDS:
        assert next_status(BEFORE[state], kind, 2, 50.0).state is EXPECTED[state][kind]
        return
    ended = Status(state, attempt=1, ended_at=100.0)
    early = next_status(ended, kind, 2, 50.0).state
    late = next_status(ended, kind, 2, 150.0).state
    if kind is Kind.DELIVERED:
        assert (early, late) == (S.DELIVERED, S.DELIVERED)
    elif state is S.DELIVERED or kind not in ENDS:
        assert (early, late) == (state, state)
    else:
        assert (early, late) == (S(kind), state)


@pytest.mark.parametrize("kind", list(Kind))
def test_the_first_that_is_heard_of_a_delivery_may_be_any_event(kind):
    expected = S.ACCEPTED if kind is Kind.STARTED else S(kind)
    assert next_status(UNHEARD, kind, 1, 1.0).state is expected


def test_a_repeated_event_changes_nothing():
    for kind in Kind:
        once = next_status(UNHEARD, kind, 1, 7.0)
        assert next_status(once, kind, 1, 7.0) is once


def test_a_deferral_of_an_earlier_attempt_does_not_lower_the_attempt():
    known = next_status(UNHEARD, Kind.DEFERRED, 3, 1.0)
    assert next_status(known, Kind.DEFERRED, 2, 2.0) is known


def test_a_dead_letter_that_overtakes_the_deferral_before_it_stays_parked():
    parked = next_status(UNHEARD, Kind.PARKED, 3, 9.0)
    assert next_status(parked, Kind.DEFERRED, 2, 5.0) == Status(S.PARKED, attempt=2, parked=3)


def test_a_replay_that_is_deferred_is_no_longer_parked():
    parked = next_status(Status(S.DEFERRED, attempt=2), Kind.PARKED, 3, 9.0)
    assert next_status(parked, Kind.DEFERRED, 3, 12.0).state is S.DEFERRED


def test_a_dead_letter_that_is_heard_after_its_replay_changes_nothing_but_the_record():
    assert next_status(Status(S.DEFERRED, attempt=3), Kind.PARKED, 3, 9.0) == Status(S.DEFERRED, attempt=3, parked=3)


def test_unconfirmed_does_not_override_a_sender_that_has_begun():
    started = next_status(UNHEARD, Kind.STARTED, 1, 2.0)
    assert next_status(started, Kind.UNCONFIRMED, 0, 1.0) is started


def test_of_two_ends_the_one_that_happened_first_counts():
    expired = next_status(UNHEARD, Kind.EXPIRED, 1, 20.0)
    assert next_status(expired, Kind.BOUNCED, 1, 30.0).state is S.EXPIRED
    assert next_status(expired, Kind.BOUNCED, 1, 10.0) == Status(S.BOUNCED, attempt=1, ended_at=10.0)


def test_the_yes_of_a_duplicate_attempt_overrides_any_other_end():
    for end in ENDS:
        ended = next_status(UNHEARD, Kind(end), 2, 10.0)
        assert next_status(ended, Kind.DELIVERED, 1, 30.0).state is S.DELIVERED


# Only outcomes that were no attempt (a withdrawal, a suppression) come with attempt 0.
TRIED = {Kind.STARTED, Kind.DEFERRED, Kind.PARKED}
happenings = st.sampled_from(Kind).flatmap(
    lambda kind: st.tuples(st.just(kind), st.integers(1 if kind in TRIED else 0, 4), st.integers(0, 5).map(float))
)


def final(events):
    status = UNHEARD
    for event in events:
        status = next_status(status, *event)
    return status


@given(st.lists(happenings, max_size=7).flatmap(lambda all_: st.tuples(st.just(all_), st.permutations(all_))))
def test_any_order_of_the_same_events_ends_in_the_same_status(orders):
    first, second = orders
    assert final(first) == final(second)


@given(st.lists(happenings, min_size=1, max_size=6), st.data())
def test_any_repetition_of_events_ends_in_the_same_status(events, data):
    again = data.draw(st.lists(st.sampled_from(events), max_size=6))
    assert final(events) == final([*events, *again])


@given(st.lists(happenings, max_size=8))
def test_an_end_is_left_only_for_delivered_or_for_an_end_that_happened_before(events):
    status = UNHEARD
    for kind, attempt, at in events:
        after = next_status(status, kind, attempt, at)
        if status.state in ENDS and after.state is not status.state:
            assert after.state is S.DELIVERED or (after.state in ENDS and after.ended_at <= status.ended_at)
            assert status.state is not S.DELIVERED
        assert (after.ended_at is not None) == (after.state in ENDS)
        status = after


@given(st.lists(happenings, max_size=8), happenings)
def test_an_event_that_is_in_the_status_is_never_taken_for_surely_new(events, event):
    status = final([*events, event])
    assert not surely_new(status, event[0], event[1])
