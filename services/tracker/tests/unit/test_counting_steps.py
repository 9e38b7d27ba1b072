"""What becomes of deliveries, as steps of counters."""

from msgspec.structs import replace

from mailwarren.contracts.counters import COUNTERS, NO_BROADCAST, QUARTER, quarter_of
from mailwarren.contracts.events import Kind
from mailwarren.contracts.ids import new_id
from mailwarren.contracts.testing import TENANT, a_content, a_parcel, an_attempt, an_event
from mailwarren.store.states import State
from mailwarren.tracker.domain.counting import Facts, Place, facts_after, sender_domain, steps
from mailwarren.tracker.domain.fold import Change, Report
from mailwarren.tracker.domain.status import Status

AT = 1_700_000_400.0
BEGAN = 1_700_000_100
"""The quarter of it."""
ACCEPTED = Facts(TENANT, "sender.test", None, State.ACCEPTED, AT)


def told(found):
    """The steps by quarter, domain and counter."""
    return {
        (place.quarter, place.domain, name): number
        for place, row in found.items()
        for name, number in zip(COUNTERS, row, strict=True)
        if number
    }


def test_an_acceptance_is_received_and_sent():
    found = steps([(None, ACCEPTED)], [], {})
    assert [*found] == [Place(TENANT, BEGAN, "sender.test", NO_BROADCAST)]
    assert told(found) == {(BEGAN, "sender.test", "received"): 1, (BEGAN, "sender.test", "sent"): 1}


def test_what_is_suppressed_or_canceled_was_received_and_not_sent():
    suppressed = replace(ACCEPTED, state=State.SUPPRESSED, ended_at=AT)
    canceled = replace(ACCEPTED, state=State.CANCELED, ended_at=AT + QUARTER)
    assert told(steps([(None, suppressed)], [], {})) == {
        (BEGAN, "sender.test", "received"): 1,
        (BEGAN, "sender.test", "suppressed"): 1,
    }
    # A cancel later takes back that it was sent, in the quarter of the acceptance.
    assert told(steps([(ACCEPTED, canceled)], [], {})) == {(BEGAN, "sender.test", "sent"): -1}


def test_ends_count_in_the_quarter_in_which_they_happened():
    for state, bounced, name in (
        (State.DELIVERED, None, "delivered"),
        (State.FAILED, None, "failed"),
        (State.EXPIRED, None, "failed"),
        (State.BOUNCED, "invalid_recipient", "bounced_permanent"),
        (State.BOUNCED, "quota", "bounced_transient"),
        (State.BOUNCED, None, "bounced_undetermined"),
    ):
        after = replace(ACCEPTED, state=state, ended_at=AT + QUARTER, bounce_class=bounced)
        assert told(steps([(ACCEPTED, after)], [], {})) == {(BEGAN + QUARTER, "sender.test", name): 1}


def test_an_end_that_is_overtaken_by_an_earlier_one_is_taken_back():
    bounced = replace(ACCEPTED, state=State.BOUNCED, ended_at=AT + QUARTER, bounce_class="policy")
    delivered = replace(ACCEPTED, state=State.DELIVERED, ended_at=AT)
    assert told(steps([(bounced, delivered)], [], {})) == {
        (BEGAN + QUARTER, "sender.test", "bounced_permanent"): -1,
        (BEGAN, "sender.test", "delivered"): 1,
    }


def test_what_changes_nothing_makes_no_step():
    assert steps([(ACCEPTED, replace(ACCEPTED))], [], {}) == {}
    held = replace(ACCEPTED, state=State.HELD, ended_at=AT)
    assert steps([(ACCEPTED, held)], [], {}) == {}


def test_nothing_counts_before_the_acceptance_is_seen():
    heard = Facts(TENANT, None, None, State.DELIVERED, None, AT + 5)
    assert steps([(None, heard)], [], {}) == {}
    seen = replace(heard, domain="sender.test", accepted_at=AT)
    assert {name for _, _, name in told(steps([(heard, seen)], [], {}))} == {"received", "sent", "delivered"}


def test_a_change_and_an_acceptance_make_the_facts_that_are_written():
    broadcast = new_id()
    parcel = a_parcel(content=a_content(sender="Ada <ada@Mail.Sender.test>"), accepted_at=AT, broadcast=broadcast)
    event = an_event(parcel, Kind.BOUNCED, at=AT + 9, tried=an_attempt(bounce_class="quota"))
    change = Change(
        Status(State.BOUNCED, 1, ended_at=AT + 9), Report(event), AT + 9, tried=event.tried, deferred_at=AT + 3
    )
    after = facts_after(TENANT, None, change, parcel)
    assert after == Facts(
        TENANT, "mail.sender.test", broadcast, State.BOUNCED, AT, AT + 9, "quota", AT + 3
    )  # fmt: skip
    # A later change without a reply leaves the class, and the first deferral stays the first.
    late = Change(Status(State.DELIVERED, 2, ended_at=AT + 8), Report(event), AT + 9, deferred_at=AT + 4)
    assert facts_after(TENANT, after, late, None) == replace(after, state=State.DELIVERED, ended_at=AT + 8)
    assert facts_after(TENANT, after, None, None) == after


def test_a_moment_is_in_the_quarter_of_its_microsecond():
    assert quarter_of(899.9999999) == QUARTER
    assert quarter_of(899.9999) == 0
    assert quarter_of(AT) == BEGAN


def test_senders_are_counted_by_their_domains():
    assert sender_domain("Ada <ada@Example.COM>") == sender_domain("ada@example.com") == "example.com"
    assert sender_domain('"@ <x" <a@b.test >') == "b.test"
