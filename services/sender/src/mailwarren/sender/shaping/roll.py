"""Who is alive: the senders whose heartbeats were heard in the last seconds."""

from collections.abc import Iterable
from uuid import UUID

from mailwarren.contracts.shaping import LIVE_FOR, Heartbeat


class Roll:
    """The senders of the last seconds. Times are of the own monotonic clock: those of others may be wrong.

    Args:
        me: This process, which is alive whether it hears itself or not.
        shards: Those that it consumes.
    """

    def __init__(self, me: UUID, shards: frozenset[str]) -> None:
        self._me = me
        self._shards = shards
        self._others: dict[UUID, tuple[float, frozenset[str], frozenset[str]]] = {}

    def heard(self, beat: Heartbeat, now: float) -> None:
        """Take note of a heartbeat."""
        if beat.leaving:
            self._others.pop(beat.sender, None)
        elif beat.sender != self._me:
            sites = frozenset(site.name for site in beat.sites if site.open)
            self._others[beat.sender] = (now, shards_of(beat.queues), sites)

    def live(self, site: str, now: float) -> int:
        """How many senders share a site's limits, this one included: those of its shards, and who is connected."""
        self._others = {sender: told for sender, told in self._others.items() if now - told[0] <= LIVE_FOR}
        return 1 + sum(
            not self._shards.isdisjoint(shards) or site in sites for _, shards, sites in self._others.values()
        )

    def peers(self, now: float) -> frozenset[UUID]:
        """Who else is alive."""
        return frozenset(sender for sender, told in self._others.items() if now - told[0] <= LIVE_FOR)


def shards_of(queues: Iterable[str]) -> frozenset[str]:
    """The shards of send queues, whatever their prefix and lane."""
    return frozenset(name.rpartition(".")[2] for name in queues)
