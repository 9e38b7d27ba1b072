"""What opens and clicks are as steps of counters."""

from msgspec.structs import replace

from mailwarren.contracts.counters import COUNTERS, QUARTER
from mailwarren.contracts.ids import new_id
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.testing import TENANT, a_parcel
from mailwarren.contracts.tracking import Flag, Hit, HitKind
from mailwarren.store.states import State
from mailwarren.tracker.domain.counting import Facts, Told, add_hits, facts_after, steps
from mailwarren.tracker.domain.hits import Seen

BEGAN = QUARTER * 2_000_000
AT = BEGAN + 300.0
ACCEPTED = Facts(TENANT, "sender.test", None, State.ACCEPTED, AT)


def told(found):
    """The steps by quarter and counter."""
    return {
        (place.quarter, name): number
        for place, row in found.items()
        for name, number in zip(COUNTERS, row, strict=True)
        if number
    }


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
        (BEGAN, "opened"): 1,
        (BEGAN + QUARTER, "opened"): 1,
        (BEGAN, "unique_opened"): 1,
        (BEGAN + QUARTER, "clicked"): 1,
        (BEGAN + QUARTER, "unique_clicked"): 1,
    }
    assert hit_steps(ACCEPTED, *hits) == counted
    assert hit_steps(replace(ACCEPTED, domain=None), *hits) == {}


def test_a_first_open_that_is_told_late_takes_the_later_one_back():
    opened = replace(ACCEPTED, opened_at=AT + QUARTER)
    assert hit_steps(opened, (HitKind.OPENED, AT, None)) == {
        (BEGAN, "opened"): 1,
        (BEGAN, "unique_opened"): 1,
        (BEGAN + QUARTER, "unique_opened"): -1,
    }
    assert hit_steps(opened, (HitKind.OPENED, AT + 2 * QUARTER, None)) == {(BEGAN + 2 * QUARTER, "opened"): 1}


def test_hits_before_the_acceptance_count_with_it():
    heard = Facts(TENANT, None, None, State.DELIVERED, None, AT + 5, opened_at=AT + 9)
    parcel = a_parcel(accepted_at=AT)
    after = facts_after(TENANT, heard, None, parcel)
    assert told(steps([(heard, after)], [], {}))[BEGAN, "unique_opened"] == 1
    assert hit_steps(after, earlier=[(HitKind.OPENED, AT + 9)]) == {(BEGAN, "opened"): 1}
