"""Reports of a batch over what is stored."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from mailwarren.contracts.events import Event, Kind
from mailwarren.contracts.ids import event_id
from mailwarren.contracts.reply import Reply
from mailwarren.contracts.testing import TENANT, an_attempt
from mailwarren.store.states import State
from mailwarren.tracker.domain.fold import Report, distinct, doubtful, fold
from mailwarren.tracker.domain.status import Status

DELIVERY = uuid.UUID(int=1)


def report(kind, attempt=1, at=10.0, *, delivery=DELIVERY, tried=None, next_attempt_at=None):
    event = Event(
        id=event_id(delivery, attempt, kind),
        kind=kind,
        delivery=delivery,
        email_id=uuid.UUID(int=9),
        tenant=TENANT,
        lane="bulk",
        to="bob@example.test",
        at=at,
        attempt=attempt,
        tried=tried,
    )
    return Report(event, next_attempt_at)


def test_of_repetitions_in_a_batch_the_first_counts():
    first, second = report(Kind.DELIVERED, at=10.0), report(Kind.DELIVERED, at=11.0)
    assert list(distinct([first, second, report(Kind.STARTED)]).values()) == [first, report(Kind.STARTED)]


def test_only_events_that_may_be_recorded_are_looked_up():
    known = {DELIVERY: Status(State.DEFERRED, attempt=1)}
    old, new = report(Kind.DEFERRED, 1), report(Kind.DELIVERED, 2)
    assert doubtful([old, new], known) == [old.event]
    assert doubtful([old, new], {}) == []


def test_events_seen_before_are_left_out():
    again = report(Kind.DELIVERED)
    folded = fold([again], {DELIVERY: Status(State.ACCEPTED)}, {again.event.id})
    assert folded.changes == {} and folded.delivered == []


def test_a_deferral_and_the_delivery_after_it_in_one_batch():
    busy = an_attempt(1, Reply(450, "later"))
    yes = an_attempt(2)
    reports = [
        report(Kind.DEFERRED, 1, 10.0, tried=busy, next_attempt_at=40.0),
        report(Kind.DELIVERED, 2, 41.0, tried=yes),
    ]
    folded = fold(reports, {}, set())
    change = folded.changes[DELIVERY]
    assert change.status == Status(State.DELIVERED, attempt=2, ended_at=41.0)
    assert change.tried == yes
    assert change.at == 41.0
    assert change.decided is reports[1]
    assert folded.delivered == [reports[1].event]


def test_an_end_without_an_attempt_keeps_the_reply_before_it():
    busy = an_attempt(1, Reply(450, "later"))
    folded = fold([report(Kind.DEFERRED, 1, tried=busy), report(Kind.EXPIRED, 0, 20.0)], {}, set())
    assert folded.changes[DELIVERY].status.state is State.EXPIRED
    assert folded.changes[DELIVERY].tried == busy


def test_a_stale_report_does_not_bring_its_reply():
    stale = report(Kind.DEFERRED, 1, tried=an_attempt(1, Reply(450, "old")))
    change = fold([stale], {DELIVERY: Status(State.DEFERRED, attempt=2)}, set()).changes[DELIVERY]
    assert change.status == Status(State.DEFERRED, attempt=2)
    assert change.tried is None and change.decided is None


def test_a_delivery_is_delivered_once():
    known = {DELIVERY: Status(State.DELIVERED, attempt=1, ended_at=5.0)}
    assert fold([report(Kind.DELIVERED, 2)], known, set()).delivered == []


@given(st.lists(st.tuples(st.sampled_from(Kind), st.integers(1, 3), st.integers(0, 9)), max_size=8), st.integers(0, 8))
def test_one_batch_or_two_end_in_the_same_rows(events, cut):
    reports = list(distinct(report(kind, attempt, float(at)) for kind, attempt, at in events).values())
    together = fold(reports, {}, set()).changes
    first = fold(reports[:cut], {}, set()).changes
    stored = {ident: change.status for ident, change in first.items()}
    then = fold(reports[cut:], stored, set()).changes
    apart = stored | {ident: change.status for ident, change in then.items()}
    assert apart == {ident: change.status for ident, change in together.items()}
