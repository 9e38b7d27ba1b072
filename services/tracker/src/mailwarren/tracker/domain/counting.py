"""What becomes of deliveries, as steps of the counters of ``email_metrics``.

A delivery has a place in the counters as long as it stands there: what a batch makes of it is what it counts for
afterwards, less what it counted for before. So an end that is overtaken by an earlier one is taken back, and nothing is
counted twice, whatever comes twice or late. Its first open and its first click have places like that too.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

import msgspec
from msgspec.structs import replace

from mailwarren.contracts.bounces import BounceType, bounce_type
from mailwarren.contracts.counters import AFTER_DELIVERY, COUNTERS, NO_BROADCAST, quarter_of
from mailwarren.contracts.events import Event
from mailwarren.contracts.parcel import Parcel
from mailwarren.contracts.routing import domain_of
from mailwarren.contracts.tracking import HitKind
from mailwarren.store.states import State
from mailwarren.tracker.domain.fold import Change
from mailwarren.tracker.domain.hits import Seen, Tally, tallies

_AT = {name: index for index, name in enumerate(COUNTERS)}
_RECEIVED, _SENT, _DELAYED = _AT["received"], _AT["sent"], _AT["delivery_delayed"]
_UNIQUE_OPENED, _UNIQUE_CLICKED = _AT["unique_opened"], _AT["unique_clicked"]
_BOUNCED = {kind: _AT[f"bounced_{kind}"] for kind in BounceType}
_ENDED = {
    State.DELIVERED: _AT["delivered"],
    State.FAILED: _AT["failed"],
    State.EXPIRED: _AT["failed"],
    State.SUPPRESSED: _AT["suppressed"],
}
_AFTER = {name: _AT[name] for name in AFTER_DELIVERY}
_NOT_SENT = frozenset({State.SUPPRESSED, State.CANCELED})


class Place(NamedTuple):
    """A row of the counters; ``quarter`` is its beginning in Unix seconds."""

    tenant: UUID
    quarter: int
    domain: str
    broadcast: UUID


Steps = dict[Place, list[int]]
"""What is to be added to each row, one number for each of :data:`~mailwarren.contracts.counters.COUNTERS`."""


class Facts(msgspec.Struct, frozen=True, gc=False):
    """What of a delivery's row is counted. Times are Unix seconds; without a ``domain`` it is not counted."""

    tenant: UUID
    domain: str | None
    broadcast: UUID | None
    state: State
    accepted_at: float | None
    ended_at: float | None = None
    bounce_class: str | None = None
    deferred_at: float | None = None
    opened_at: float | None = None
    clicked_at: float | None = None


@lru_cache(maxsize=4096)
def sender_domain(sender: str) -> str:
    """The domain of a From address, as it is counted: ``Ada <ada@Example.com>`` gives ``example.com``."""
    return domain_of(sender).strip(" >")


def facts_after(tenant: UUID, before: Facts | None, change: Change | None, parcel: Parcel | None) -> Facts:
    """What is counted of a delivery after a batch.

    Args:
        tenant: whose it is.
        before: what its row said; None when there was none.
        change: what was written of the batch's reports; None for nothing.
        parcel: its acceptance, when the batch brought it.
    """
    before = before or Facts(tenant, None, None, State.ACCEPTED, None)
    domain, broadcast, accepted_at = before.domain, before.broadcast, before.accepted_at
    if parcel is not None:
        domain, broadcast, accepted_at = sender_domain(parcel.content.sender), parcel.broadcast, parcel.accepted_at
    state, ended_at, bounce_class, deferred_at = before.state, before.ended_at, before.bounce_class, before.deferred_at
    if change is not None:
        state, ended_at = change.status.state, change.status.ended_at
        bounce_class = bounce_class if change.tried is None else change.tried.bounce_class
        deferred_at = change.deferred_at if deferred_at is None else deferred_at
    return Facts(
        tenant,
        domain,
        broadcast,
        state,
        accepted_at,
        ended_at,
        bounce_class,
        deferred_at,
        before.opened_at,
        before.clicked_at,
    )


def steps(changes: Iterable[tuple[Facts | None, Facts]], events: Iterable[Event], known: Mapping[UUID, Facts]) -> Steps:
    """The steps that a batch makes.

    Args:
        changes: deliveries before (None: no row) and after.
        events: those that are recorded now.
        known: the deliveries of the batch as they are after it.
    """
    found: Steps = {}
    for before, after in changes:
        if before is not None:
            _count(found, before, -1)
        _count(found, after, 1)
    for event in events:
        index = _AFTER.get(event.kind)
        facts = known.get(event.delivery) if index is not None else None
        if index is not None and facts is not None and facts.domain is not None:
            _row(found, facts, event.at)[index] += 1
    return {place: row for place, row in found.items() if any(row)}


class Told(NamedTuple):
    """An open or a click that counts as its reader's, as its event says. ``at`` is Unix seconds."""

    delivery: UUID
    kind: HitKind
    at: float


def add_hits(found: Steps, seen: Iterable[Seen], earlier: Iterable[Told], known: Mapping[UUID, Facts]) -> None:
    """Add to steps what opens and clicks make.

    Args:
        found: gets them.
        seen: hits that are recorded now.
        earlier: those that were recorded before their mail's acceptance, which is recorded now.
        known: the deliveries as they are after the batch, but for its hits.
    """
    new = [one for one in seen if one.counts]
    for delivery, kind, at in (*earlier, *(Told(one.hit.delivery, one.hit.kind, one.hit.at) for one in new)):
        facts = known.get(delivery)
        if facts is not None and facts.domain is not None:
            _row(found, facts, at)[_AFTER[kind]] += 1
    for ident, tally in tallies(new).items():
        if (facts := known.get(ident)) is not None:
            _count(found, facts, -1)
            _count(found, _after_hits(facts, tally), 1)


def _after_hits(facts: Facts, tally: Tally) -> Facts:
    return replace(
        facts,
        opened_at=_first(facts.opened_at, tally.opened_at),
        clicked_at=_first(facts.clicked_at, tally.clicked_at),
    )


def _first(*times: float | None) -> float | None:
    return min((at for at in times if at is not None), default=None)


def _count(found: Steps, facts: Facts, number: int) -> None:
    if facts.domain is None:
        return
    row: list[int] = []
    last = None
    for at, index in _counted(facts):
        # What is received is sent at the same moment: its row is looked up once.
        if at != last:
            row, last = _row(found, facts, at), at
        row[index] += number


def _counted(facts: Facts) -> Iterator[tuple[float, int]]:
    if facts.accepted_at is not None:
        yield facts.accepted_at, _RECEIVED
        if facts.state not in _NOT_SENT:
            yield facts.accepted_at, _SENT
    if facts.deferred_at is not None:
        yield facts.deferred_at, _DELAYED
    if facts.opened_at is not None:
        yield facts.opened_at, _UNIQUE_OPENED
    if facts.clicked_at is not None:
        yield facts.clicked_at, _UNIQUE_CLICKED
    if facts.ended_at is not None:
        bounced = facts.state is State.BOUNCED
        index = _BOUNCED[bounce_type(facts.bounce_class)] if bounced else _ENDED.get(facts.state)
        if index is not None:
            yield facts.ended_at, index


def _row(found: Steps, facts: Facts, at: float) -> list[int]:
    place = Place(facts.tenant, quarter_of(at), facts.domain or "", facts.broadcast or NO_BROADCAST)
    row = found.get(place)
    if row is None:
        row = found[place] = [0] * len(COUNTERS)
    return row
