"""What each kind of message means."""

import uuid

import pytest
from msgspec.structs import replace

from mailwarren.contracts import codec
from mailwarren.contracts.events import Cancel, Kind, Marker, Outcomes
from mailwarren.contracts.ids import event_id
from mailwarren.contracts.parcel import Wait
from mailwarren.contracts.settle import Question
from mailwarren.contracts.testing import TENANT, a_delivery, a_parcel, an_attempt, an_event
from mailwarren.tracker.domain.fold import Report
from mailwarren.tracker.domain.read import FROM, REASON, Message, Source, read

NOW = 1_700_000_000.0


def of_parcel(parcel, source, **headers):
    return Message(source, "q", codec.encode_parcel(parcel), codec.parcel_headers(parcel) | headers)


def of_value(value, source=Source.EVENTS):
    return Message(source, "q", codec.encode(value), codec.headers_of(value))


def deferred(count=2, **changes):
    parcel = a_parcel(
        to=[f"u{n}@example.test" for n in range(count)], attempt=3, wait=Wait.DEFERRED, not_before=NOW + 60
    )
    last = an_attempt(2)
    return replace(parcel, deliveries=tuple(replace(d, last=last) for d in parcel.deliveries), **changes)


def test_an_acceptance():
    parcel = a_parcel(to=["a@example.test", "b@example.test"])
    work = read(of_parcel(parcel, Source.ACCEPTED), NOW)
    assert work.acceptance == parcel
    assert work.reports == []
    assert work.rows == 2


def test_a_suppressed_delivery_ends_with_its_acceptance():
    parcel = a_parcel()
    parcel = replace(parcel, deliveries=(*parcel.deliveries, a_delivery("gone@example.test", suppressed=True)))
    work = read(of_parcel(parcel, Source.ACCEPTED), NOW)
    [report] = work.reports
    assert report.event.kind is Kind.SUPPRESSED
    assert report.event.delivery == parcel.deliveries[1].id
    assert report.event.at == parcel.accepted_at
    assert report.event.id == event_id(parcel.deliveries[1].id, 0, "suppressed")


def test_outcomes():
    events = (an_event(a_parcel()), an_event(a_parcel(), Kind.BOUNCED))
    work = read(of_value(Outcomes(events)), NOW)
    assert work.reports == [Report(event) for event in events]
    assert work.rows == 2


def test_a_deferral_is_an_event_of_the_attempt_just_made():
    parcel = deferred()
    work = read(of_parcel(parcel, Source.EVENTS), NOW)
    assert [report.next_attempt_at for report in work.reports] == [NOW + 60, NOW + 60]
    event, delivery = work.reports[1].event, parcel.deliveries[1]
    assert (event.kind, event.attempt, event.delivery) == (Kind.DEFERRED, 2, delivery.id)
    assert event.tried == delivery.last
    assert event.at == delivery.last.at
    assert event.id == event_id(delivery.id, 2, "deferred")


@pytest.mark.parametrize("wait", [wait for wait in Wait if wait is not Wait.DEFERRED])
def test_a_parcel_that_only_hops_or_waits_is_passing(wait):
    work = read(of_parcel(deferred(wait=wait), Source.EVENTS), NOW)
    assert work.reports == [] and work.acceptance is None and work.rows == 1


def test_a_deferral_without_its_attempt_does_not_decode():
    with pytest.raises(codec.Undecodable, match="attempt"):
        read(of_parcel(a_parcel(wait=Wait.DEFERRED), Source.EVENTS), NOW)


def test_questions_and_cancels():
    question = Question(uuid.uuid4(), uuid.uuid4(), "answers", (uuid.uuid4(),), 2)
    assert read(of_value(question), NOW).question == question
    cancel = Cancel(uuid.uuid4(), TENANT, NOW)
    assert read(of_value(cancel), NOW).cancel == cancel


def test_a_dead_letter_parks_its_deliveries():
    parcel = a_parcel(to=["a@example.test", "b@example.test"], attempt=4)
    work = read(of_parcel(parcel, Source.DEAD, **{REASON: "ZeroDivisionError", FROM: "send.bulk.h1"}), NOW, {"q"})
    assert [report.event.kind for report in work.reports] == [Kind.PARKED, Kind.PARKED]
    event = work.reports[0].event
    assert (event.attempt, event.at, event.reason) == (4, NOW, "ZeroDivisionError")
    assert event.id == event_id(parcel.deliveries[0].id, 4, "parked")


def test_a_dead_letter_of_the_broker_tells_the_brokers_reason():
    message = of_parcel(a_parcel(), Source.DEAD, **{"x-first-death-reason": "delivery_limit"})
    assert read(message, NOW).reports[0].event.reason == "delivery_limit"


def test_what_the_tracker_itself_set_aside_parks_nothing():
    message = of_parcel(a_parcel(), Source.DEAD, **{FROM: "tracker.accepted.bulk"})
    assert read(message, NOW, {"tracker.accepted.bulk"}).reports == []


def test_a_dead_letter_that_is_no_parcel_parks_nothing():
    assert read(of_value(Outcomes((an_event(a_parcel()),)), Source.DEAD), NOW).reports == []


def test_a_suppressed_delivery_is_never_parked_or_deferred():
    parcel = deferred()
    parcel = replace(parcel, deliveries=(replace(parcel.deliveries[0], suppressed=True), parcel.deliveries[1]))
    for source in (Source.EVENTS, Source.DEAD):
        assert [r.event.delivery for r in read(of_parcel(parcel, source), NOW).reports] == [parcel.deliveries[1].id]


@pytest.mark.parametrize("source", [Source.ACCEPTED, Source.EVENTS])
def test_what_is_no_message_of_ours_does_not_decode(source):
    for body, headers in (
        (b"{", {"mw-version": 1}),
        (b"{}", {}),
        (codec.encode(Marker(uuid.uuid4())), {"mw-version": 1}),
    ):
        with pytest.raises(codec.Undecodable):
            read(Message(source, "q", body, headers), NOW)


def test_a_message_of_a_newer_version_is_told_apart():
    parcel = a_parcel()
    with pytest.raises(codec.NewerVersion):
        read(of_parcel(parcel, Source.ACCEPTED, **{codec.VERSION_HEADER: codec.VERSION + 1}), NOW)
