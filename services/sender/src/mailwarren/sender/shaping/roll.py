"""Who is alive and what they say of sites: the senders whose heartbeats were heard in the last seconds."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from uuid import UUID

from mailwarren.contracts.egress import EgressState
from mailwarren.contracts.shaping import LIVE_FOR, Heartbeat, SiteState
from mailwarren.sender.domain.egress import any_open


@dataclass(frozen=True, slots=True)
class _Told:
    at: float
    shards: frozenset[str]
    sites: dict[str, SiteState]
    egresses: tuple[EgressState, ...] = ()


class Roll:
    """The senders of the last seconds. Times are of the own monotonic clock: those of others may be wrong.

    Args:
        me: This process, which is alive whether it hears itself or not.
        shards: Those that it consumes.
    """

    def __init__(self, me: UUID, shards: frozenset[str]) -> None:
        self._me = me
        self._shards = shards
        self._told: dict[UUID, _Told] = {}

    def heard(self, beat: Heartbeat, now: float) -> None:
        """Take note of a heartbeat."""
        if beat.leaving:
            self._told.pop(beat.sender, None)
        else:
            sites = {site.name: site for site in beat.sites}
            egresses = beat.egresses if isinstance(beat.egresses, tuple) else ()
            self._told[beat.sender] = _Told(now, shards_of(beat.queues), sites, egresses)

    def live(self, site: str, now: float) -> int:
        """How many senders share a site's limits, this one included: those of its shards, and who is connected."""
        self._told = {sender: told for sender, told in self._told.items() if now - told.at <= LIVE_FOR}
        return 1 + sum(
            not self._shards.isdisjoint(told.shards) or bool(site in told.sites and told.sites[site].open)
            for sender, told in self._told.items()
            if sender != self._me
        )

    def peers(self, now: float) -> frozenset[UUID]:
        """Who else is alive."""
        return frozenset(
            sender for sender, told in self._told.items() if sender != self._me and now - told.at <= LIVE_FOR
        )

    def has_open(self, egresses: Collection[str], site: str, now: float) -> bool:
        """Whether another sender of these shards has one of some egresses open for a site."""
        return any(
            any_open(told.egresses, egresses, site)
            for sender, told in self._told.items()
            if sender != self._me and now - told.at <= LIVE_FOR and not self._shards.isdisjoint(told.shards)
        )

    def lacks(self, site: str, slots: int, now: float) -> bool:
        """Whether mail waits for a site of which all senders, this one included, have fewer slots than that."""
        said = list(self._said(site, now))
        return any(one.waiting for one in said) and sum(one.slots for one in said) < slots

    def _said(self, site: str, now: float) -> Iterator[SiteState]:
        for told in self._told.values():
            if now - told.at <= LIVE_FOR and (state := told.sites.get(site)) is not None:
                yield state


def shards_of(queues: Iterable[str]) -> frozenset[str]:
    """The shards of send queues, whatever their prefix and lane."""
    return frozenset(name.rpartition(".")[2] for name in queues)
