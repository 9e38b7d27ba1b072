from hypothesis import given
from hypothesis import strategies as st

from mailwarren.contracts.events import Kind
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.testing import TENANT, a_parcel, an_event
from mailwarren.tracker.domain.stats import Cell, count, minute_of


def test_acceptances_and_events_are_counted_in_the_minute_when_they_happened():
    parcel = a_parcel(to=["a@x.test", "b@x.test"], lane=Lane.BULK, accepted_at=119.9)
    events = [an_event(parcel, at=120.0), an_event(parcel, index=1, at=179.9), an_event(parcel, Kind.BOUNCED, at=180.0)]
    assert count([parcel, parcel], events) == {
        Cell(TENANT, 60.0, Lane.BULK, "accepted"): 2,
        Cell(TENANT, 120.0, Lane.BULK, "delivered"): 2,
        Cell(TENANT, 180.0, Lane.BULK, "bounced"): 1,
    }


@given(st.floats(0, 4e9))
def test_a_minute_begins_at_most_a_minute_before(at):
    assert minute_of(at) <= at < minute_of(at) + 60
    assert minute_of(at) % 60 == 0
