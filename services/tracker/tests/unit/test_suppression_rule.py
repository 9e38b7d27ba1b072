import pytest

from mailwarren.contracts.events import Kind
from mailwarren.contracts.testing import a_parcel, an_attempt, an_event
from mailwarren.store.states import Origin
from mailwarren.tracker.domain.suppression import Suppression, full_mailbox_of, suppression_of


def test_a_bounce_that_says_that_nobody_lives_there_suppresses_in_lower_case():
    event = an_event(
        a_parcel(to=["Bob@example.test"]),
        Kind.BOUNCED,
        suppress=True,
        tried=an_attempt(bounce_class="bad_domain"),
        at=5.0,
    )
    assert suppression_of(event) == Suppression(
        event.tenant, "bob@example.test", "bad_domain", Origin.BOUNCE, event.email_id, 5.0
    )


def test_a_bounce_without_a_class_is_named_after_the_rule():
    event = an_event(a_parcel(), Kind.BOUNCED, suppress=True, tried=None)
    assert suppression_of(event).reason == "invalid_recipient"


def test_a_bounce_for_another_reason_suppresses_nobody():
    assert suppression_of(an_event(a_parcel(), Kind.BOUNCED)) is None


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.BOUNCED])
def test_no_other_kind_suppresses_whatever_it_says(kind):
    assert suppression_of(an_event(a_parcel(), kind, suppress=True)) is None


def test_a_full_mailbox_is_counted_and_suppresses_nobody_by_itself():
    event = an_event(a_parcel(to=["Bob@example.test"]), Kind.BOUNCED, tried=an_attempt(bounce_class="quota"), at=5.0)
    assert suppression_of(event) is None
    assert full_mailbox_of(event) == Suppression(
        event.tenant, "bob@example.test", "quota", Origin.BOUNCE, event.email_id, 5.0
    )


@pytest.mark.parametrize("kind", [Kind.DEFERRED, Kind.EXPIRED, Kind.FAILED])
def test_a_mailbox_that_may_yet_be_emptied_is_not_counted(kind):
    assert full_mailbox_of(an_event(a_parcel(), kind, tried=an_attempt(bounce_class="quota"))) is None


@pytest.mark.parametrize("bounce_class", ["message_too_large", "invalid_recipient", None])
def test_other_bounces_are_no_full_mailboxes(bounce_class):
    event = an_event(a_parcel(), Kind.BOUNCED, tried=an_attempt(bounce_class=bounce_class))
    assert full_mailbox_of(event) is None
