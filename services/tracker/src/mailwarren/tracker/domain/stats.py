"""What is counted per minute."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

from mailwarren.contracts.events import Event
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.parcel import Parcel
from mailwarren.contracts.tracking import COUNTED, UNIQUE, Count
from mailwarren.store.states import State
from mailwarren.tracker.domain.hits import Seen


class Cell(NamedTuple):
    """One count.

    ``minute`` is its beginning in Unix seconds, ``kind`` ``accepted``, a kind of event or of hit, or a
    :class:`~mailwarren.contracts.tracking.Count`.
    """

    tenant: UUID
    minute: float
    lane: Lane
    kind: str


def minute_of(at: float) -> float:
    """The beginning of the minute in which something happened."""
    return at // 60 * 60


def count(accepted: Iterable[Parcel], happened: Iterable[Event], seen: Iterable[Seen] = ()) -> Counter[Cell]:
    """One for each acceptance (its parcel, once per delivery), event and hit, in the minute when it happened."""
    cells = Counter(
        Cell(parcel.tenant, minute_of(parcel.accepted_at), parcel.lane, State.ACCEPTED) for parcel in accepted
    )
    cells.update(Cell(event.tenant, minute_of(event.at), event.lane, event.kind) for event in happened)
    for hit, _, lane, first in seen:
        counts: list[str] = [hit.kind if hit.flag in COUNTED else Count.AUTOMATED]
        if first:
            counts.append(UNIQUE[hit.kind])
        cells.update(Cell(hit.tenant, minute_of(hit.at), lane, kind) for kind in counts)
    return cells
