"""What becomes of deliveries, as steps of counters."""

from msgspec.structs import replace

from mailwarren.contracts.counters import COUNTERS, NO_BROADCAST, QUARTER, quarter_of
from mailwarren.contracts.events import Kind
from mailwarren.contracts.ids import new_id
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.testing import TENANT, a_content, a_parcel, an_attempt, an_event
from mailwarren.contracts.tracking import Flag, Hit, HitKind
from mailwarren.store.states import State
from mailwarren.tracker.domain.counting import Facts, Place, Told, add_hits, facts_after, sender_domain, steps
from mailwarren.tracker.domain.fold import Change, Report
from mailwarren.tracker.domain.hits import Seen
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


def hit_steps(facts, *hits, earlier=()):
    """The steps of hits (kind, time, flag) of one delivery, and of those that were recorded before."""
    ident, found = new_id(), {}
    seen = [
        Seen(Hit(new_id(), kind, ident, ident, TENANT, at, AT, flag=flag), "a@x.test", Lane.HIGH, first=False)
        for kind, at, flag in hits
    ]
    add_hits(found, seen, [Told(ident, kind, at) for kind, at in earlier], {ident: facts})
    return told(found)


def test_opens_and_clicks_count_each_and_once_for_their_mail():
    later = AT + QUARTER
    hits = [
        (HitKind.OPENED, later, Flag.PROXY),
        (HitKind.OPENED, AT, None),
        (HitKind.OPENED, AT, Flag.BOT),
        (HitKind.CLICKED, later, None),
        (HitKind.CLICKED, later, Flag.PREFETCH),
    ]
    counted = {
        (BEGAN, "sender.test", "opened"): 1,
        (BEGAN + QUARTER, "sender.test", "opened"): 1,
        (BEGAN, "sender.test", "unique_opened"): 1,
        (BEGAN + QUARTER, "sender.test", "clicked"): 1,
        (BEGAN + QUARTER, "sender.test", "unique_clicked"): 1,
    }
    assert hit_steps(ACCEPTED, *hits) == counted
    assert hit_steps(replace(ACCEPTED, domain=None), *hits) == {}


def test_a_first_open_that_is_told_late_takes_the_later_one_back():
    opened = replace(ACCEPTED, opened_at=AT + QUARTER)
    assert hit_steps(opened, (HitKind.OPENED, AT, None)) == {
        (BEGAN, "sender.test", "opened"): 1,
        (BEGAN, "sender.test", "unique_opened"): 1,
        (BEGAN + QUARTER, "sender.test", "unique_opened"): -1,
    }
    assert hit_steps(opened, (HitKind.OPENED, AT + 2 * QUARTER, None)) == {
        (BEGAN + 2 * QUARTER, "sender.test", "opened"): 1
    }


def test_hits_before_the_acceptance_count_with_it():
    heard = Facts(TENANT, None, None, State.DELIVERED, None, AT + 5, opened_at=AT + 9)
    parcel = a_parcel(accepted_at=AT)
    after = facts_after(TENANT, heard, None, parcel)
    assert told(steps([(heard, after)], [], {}))[BEGAN, "sender.test", "unique_opened"] == 1
    assert hit_steps(after, earlier=[(HitKind.OPENED, AT + 9)]) == {(BEGAN, "sender.test", "opened"): 1}


def test_a_moment_is_in_the_quarter_of_its_microsecond():
    assert quarter_of(899.9999999) == QUARTER
    assert quarter_of(899.9999) == 0
    assert quarter_of(AT) == BEGAN


def test_senders_are_counted_by_their_domains():
    assert sender_domain("Ada <ada@Example.COM>") == sender_domain("ada@example.com") == "example.com"
    assert sender_domain('"@ <x" <a@b.test >') == "b.test"
