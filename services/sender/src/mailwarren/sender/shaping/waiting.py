"""Mails that wait for a slow site, outside of the deliveries that are worked on (DESIGN §6).

Bounded, because their parcels are the broker's: deliveries for the process and for each site; octets of their parcels,
so that open parcels of other sites have room; parcels of each hashed shard, so that its prefetch is not used up.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from mailwarren.sender.incoming import Incoming

SHARE_OF_PREFETCH = 2
"""A hashed shard's prefetch divided by this may wait."""


@dataclass(slots=True, eq=False)
class Waiting:
    """One delivery that waits.

    Attributes:
        incoming: Its parcel.
        since: When it came (the loop's clock).
        still: False as soon as it has something else to do than wait: canceled, expired, its parcel lost.
        turn: What ends it: True when it is its turn, False when it is to look again.
    """

    incoming: Incoming
    since: float
    still: Callable[[], bool]
    turn: "asyncio.Future[bool]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class WaitingRoom:
    """The deliveries that wait, in order of arrival for each site.

    Args:
        limit: Of deliveries; half of it for one site.
        octets: Of the parcels that they belong to.
        parcels: Of each hashed shard's queue; half of it for one site.
    """

    def __init__(self, limit: int, octets: int, parcels: int) -> None:
        self._limit = limit
        self._octets = octets
        self._most_parcels = parcels
        self._sites: dict[str, OrderedDict[Waiting, None]] = {}
        self._of_parcel: dict[int, int] = {}
        self._of_site: Counter[tuple[int, str]] = Counter()
        self._parcels: Counter[str] = Counter()
        self._parcels_of_sites: Counter[tuple[str, str]] = Counter()
        self._held = 0
        self._held_octets = 0

    def __len__(self) -> int:
        """How many wait."""
        return self._held

    def count(self, site: str) -> int:
        """How many wait for a site."""
        return len(self._sites.get(site, ()))

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites that somebody waits for."""
        return tuple(self._sites)

    def has_room(self, site: str, incoming: Incoming, *, provider: bool) -> bool:
        """Whether one more delivery of a parcel may wait; of a provider's shard the prefetch is the bound."""
        if id(incoming) not in self._of_parcel and self._held_octets + len(incoming.body) > self._octets:
            return False
        if provider:
            return True
        if self._held >= self._limit or self.count(site) >= self._limit // 2:
            return False
        of_site = self._parcels_of_sites[incoming.queue, site]
        return (id(incoming), site) in self._of_site or (
            self._parcels[incoming.queue] < self._most_parcels and of_site < max(1, self._most_parcels // 2)
        )

    async def wait(self, site: str, waiting: Waiting, seconds: float) -> bool:
        """Wait for at most ``seconds``; whether it is the delivery's turn."""
        self._enter(site, waiting)
        timer = asyncio.get_running_loop().call_later(seconds, _end, waiting, False)
        try:
            return await waiting.turn
        finally:
            timer.cancel()
            self._leave(site, waiting)

    def call(self, site: str, most: int) -> None:
        """It is the turn of the first ones."""
        for waiting in list(self._sites.get(site, ()))[:most] if most > 0 else ():
            _end(waiting, True)
            self._sites[site].pop(waiting)
        if site in self._sites and not self._sites[site]:
            del self._sites[site]

    def look_again(self, site: str) -> None:
        """Something has changed for all who wait for a site."""
        for waiting in self._sites.get(site, ()):
            _end(waiting, False)

    def look_around(self) -> None:
        """Let those go that have something else to do."""
        for found in self._sites.values():
            for waiting in found:
                if not waiting.still():
                    _end(waiting, False)

    def _enter(self, site: str, waiting: Waiting) -> None:
        self._sites.setdefault(site, OrderedDict())[waiting] = None
        self._held += 1
        key = id(waiting.incoming)
        self._of_parcel[key] = self._of_parcel.get(key, 0) + 1
        if self._of_parcel[key] == 1:
            self._held_octets += len(waiting.incoming.body)
            self._parcels[waiting.incoming.queue] += 1
        self._of_site[key, site] += 1
        if self._of_site[key, site] == 1:
            self._parcels_of_sites[waiting.incoming.queue, site] += 1

    def _leave(self, site: str, waiting: Waiting) -> None:
        found = self._sites.get(site)
        if found is not None and waiting in found:
            del found[waiting]
            if not found:
                del self._sites[site]
        self._held -= 1
        key = id(waiting.incoming)
        self._of_parcel[key] -= 1
        if not self._of_parcel[key]:
            del self._of_parcel[key]
            self._held_octets -= len(waiting.incoming.body)
            self._parcels[waiting.incoming.queue] -= 1
        self._of_site[key, site] -= 1
        if not self._of_site[key, site]:
            del self._of_site[key, site]
            self._parcels_of_sites[waiting.incoming.queue, site] -= 1
            if not self._parcels_of_sites[waiting.incoming.queue, site]:
                del self._parcels_of_sites[waiting.incoming.queue, site]


def _end(waiting: Waiting, turn: bool) -> None:  # noqa: FBT001 - a value, handed through
    if not waiting.turn.done():
        waiting.turn.set_result(turn)
