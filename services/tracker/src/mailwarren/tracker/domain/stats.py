"""What is counted per minute."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

from mailwarren.contracts.events import Event
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.parcel import Parcel
from mailwarren.store.states import State


class Cell(NamedTuple):
    """One count: ``minute`` is its beginning in Unix seconds, ``kind`` ``accepted`` or a kind of event."""

    tenant: UUID
    minute: float
    lane: Lane
    kind: str


def minute_of(at: float) -> float:
    """The beginning of the minute in which something happened."""
    return at // 60 * 60


def count(accepted: Iterable[Parcel], happened: Iterable[Event]) -> Counter[Cell]:
    """One for each acceptance (its parcel, once per delivery) and for each event, in the minute when it happened."""
    cells = Counter(
        Cell(parcel.tenant, minute_of(parcel.accepted_at), parcel.lane, State.ACCEPTED) for parcel in accepted
    )
    cells.update(Cell(event.tenant, minute_of(event.at), event.lane, event.kind) for event in happened)
    return cells
