"""Reports to the tracker, made from where a parcel stands."""

import time

from mailwarren.contracts.events import Event, Kind
from mailwarren.contracts.ids import event_id
from mailwarren.contracts.parcel import Attempt, Delivery, Parcel


def make_event(
    parcel: Parcel,
    delivery: Delivery,
    kind: Kind,
    *,
    tried: Attempt | None = None,
    reason: str | None = None,
    suppress: bool = False,
    trace: str | None = None,
) -> Event:
    """The report that ``kind`` happened to a delivery in the parcel's attempt; ``trace`` if not the parcel's own."""
    return Event(
        id=event_id(delivery.id, parcel.attempt, kind),
        kind=kind,
        delivery=delivery.id,
        email_id=delivery.email_id,
        tenant=parcel.tenant,
        lane=parcel.lane,
        to=delivery.to,
        at=time.time(),
        attempt=parcel.attempt if tried is not None or kind is Kind.STARTED else 0,
        tried=tried,
        reason=reason,
        suppress=suppress,
        accepted_at=parcel.accepted_at,
        trace=trace or parcel.trace,
    )
