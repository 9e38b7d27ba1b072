"""Who is there: senders by their last heartbeats, and the sites that they tell of."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from mailwarren.contracts.shaping import LIVE_FOR, Heartbeat


@dataclass(slots=True)
class SiteTotal:
    """A site over all senders."""

    name: str
    open: int = 0
    busy: int = 0
    waiting: int = 0
    slots: int = 0
    rate: float = 0.0
    senders: int = 0


@dataclass(slots=True)
class Roster:
    """The last heartbeat of each sender; one that says nothing for a while is forgotten.

    Moments are those of the listener's own monotonic clock: senders' clocks may be wrong.
    """

    keep: float = LIVE_FOR
    _heard: dict[UUID, tuple[float, Heartbeat]] = field(default_factory=dict)

    def hear(self, beat: Heartbeat, at: float) -> None:
        """Note a heartbeat that came ``at`` this moment; the last word of a sender takes it off."""
        if beat.leaving:
            self._heard.pop(beat.sender, None)
        else:
            self._heard[beat.sender] = at, beat

    def live(self, at: float) -> list[tuple[float, Heartbeat]]:
        """Seconds since each live sender was heard, with what it said; by fleet and host."""
        self._heard = {ident: heard for ident, heard in self._heard.items() if at - heard[0] <= self.keep}
        found = [(at - when, beat) for when, beat in self._heard.values()]
        return sorted(found, key=lambda one: (one[1].fleet, one[1].host, one[1].sender))


def total_sites(beats: Iterable[Heartbeat]) -> dict[str, SiteTotal]:
    """The sites that senders tell of, those with the most mail waiting first."""
    totals: dict[str, SiteTotal] = {}
    for beat in beats:
        for state in beat.sites:
            total = totals.setdefault(state.name, SiteTotal(state.name))
            total.open += state.open
            total.busy += state.busy
            total.waiting += state.waiting
            total.slots += state.slots
            total.rate += state.rate_10s
            total.senders += 1
    return dict(sorted(totals.items(), key=lambda one: (-one[1].waiting, -one[1].open, one[0])))
