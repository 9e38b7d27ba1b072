"""Who is told of what, and in which words."""

import itertools
from uuid import UUID

import pytest

from mailwarren.contracts.events import Kind
from mailwarren.contracts.reply import Reply
from mailwarren.contracts.testing import TENANT, a_parcel, an_attempt, an_event
from mailwarren.contracts.webhooks import NOT_MADE_YET, EventType
from mailwarren.store.states import Origin
from mailwarren.tracker.domain.notices import TYPES, Subscription, notices_of
from mailwarren.tracker.domain.suppression import Suppressed, Suppression
from mailwarren.tracker.ports import Recorded

ONE, TWO = UUID(int=1), UUID(int=2)
EVERYTHING = frozenset(str(kind) for kind in EventType)


def told(parcels=(), events=(), subscriptions=None, suppressed=()):
    numbers = itertools.count(100)
    taken = [(parcel, delivery) for parcel in parcels for delivery in parcel.deliveries]
    news = Recorded(taken=taken, events=list(events), suppressed=list(suppressed))
    wanted = {TENANT: [Subscription(ONE, EVERYTHING)]} if subscriptions is None else subscriptions
    return list(notices_of(news, wanted, lambda: UUID(int=next(numbers))))


def test_each_recipient_of_an_acceptance_is_an_event_of_its_own():
    parcel = a_parcel(to=["a@x.test", "b@x.test"])
    found = told([parcel])
    assert [(one.kind, one.data) for one in found] == [
        ("email.sent", {"to": ["a@x.test"]}),
        ("email.sent", {"to": ["b@x.test"]}),
    ]
    assert [one.email_id for one in found] == [delivery.email_id for delivery in parcel.deliveries]
    assert {one.at for one in found} == {parcel.accepted_at}
    assert len({one.id for one in found}) == 2


def test_endpoints_get_what_they_ask_for_and_the_same_event_has_the_same_id():
    parcel = a_parcel()
    wanted = {
        TENANT: [
            Subscription(ONE, frozenset({"email.delivered"})),
            Subscription(TWO, frozenset({"email.delivered", "email.sent"})),
        ]
    }
    found = told([parcel], [an_event(parcel)], wanted)
    assert [(one.endpoint, one.kind) for one in found] == [
        (TWO, "email.sent"),
        (ONE, "email.delivered"),
        (TWO, "email.delivered"),
    ]
    assert found[1].id == found[2].id != found[0].id


def test_another_tenant_hears_nothing():
    parcel = a_parcel()
    assert told([parcel], [an_event(parcel)], {UUID(int=9): [Subscription(ONE, EVERYTHING)]}) == []
    assert told([parcel], [an_event(parcel)], {}) == []


def test_a_new_entry_of_the_suppression_list_is_told_as_the_api_shows_it():
    entry = Suppression(TENANT, "a@x.test", "invalid_recipient", Origin.BOUNCE, UUID(int=5), 1_763_913_600.25)
    [one] = told(suppressed=[Suppressed(UUID(int=7), entry)])
    assert (one.kind, one.tenant, one.email_id, one.at) == ("suppression.added", TENANT, None, entry.at)
    assert one.data == {
        "id": str(UUID(int=7)),
        "email": "a@x.test",
        "origin": "bounce",
        "source_id": str(UUID(int=5)),
        "created_at": "2025-11-23T16:00:00.250Z",
    }


@pytest.mark.parametrize("kind", sorted(Kind))
def test_every_kind_is_told_under_its_name_or_not_at_all(kind):
    found = told(events=[an_event(a_parcel(), kind)])
    assert [one.kind for one in found] == ([TYPES[kind]] if kind in TYPES else [])
    assert set(TYPES.values()) & NOT_MADE_YET == set()


def test_a_mail_that_is_deferred_again_and_again_is_delayed_once():
    parcel = a_parcel()
    events = [an_event(parcel, Kind.DEFERRED, attempt=number) for number in range(1, 20)]
    assert [one.kind for one in told(events=events)] == ["email.delivery_delayed"]


def test_a_bounce_says_what_the_server_said():
    tried = an_attempt(1, Reply(550, "no such user", "5.1.1"), bounce_class="invalid_recipient")
    (found,) = told(events=[an_event(a_parcel(), Kind.BOUNCED, tried=tried)])
    assert found.data["bounce"] == {
        "message": "no such user",
        "type": "Permanent",
        "subType": "invalid_recipient",
        "diagnosticCode": "smtp; 550 5.1.1 no such user",
    }


def test_a_failure_says_why_in_the_best_words_there_are():
    def reason(kind, **changes):
        (found,) = told(events=[an_event(a_parcel(), kind, **changes)])
        return found.data["failed"]["reason"]

    assert reason(Kind.FAILED, tried=an_attempt(1, Reply(554, "go away"))) == "go away"
    assert reason(Kind.FAILED, tried=None, reason="no such template") == "no such template"
    assert reason(Kind.FAILED, tried=None) == "It could not be sent."
    assert reason(Kind.EXPIRED, tried=None) == "No server took it before its time ran out."
    late = reason(Kind.EXPIRED, tried=an_attempt(3, Reply(451, "later")))
    assert late == "No server took it before its time ran out. The last server said: later"


def test_a_suppressed_mail_says_so():
    (found,) = told(events=[an_event(a_parcel(), Kind.SUPPRESSED, tried=None)])
    assert found.kind == "email.suppressed"
    assert set(found.data["suppressed"]) == {"message", "type"}
