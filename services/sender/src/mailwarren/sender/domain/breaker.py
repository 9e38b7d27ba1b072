"""A site's breaker: after so many connection failures in a row the site is left alone, as one and for a while."""

from collections import Counter

from mailwarren.contracts.ids import override_id
from mailwarren.contracts.shaping import SAMPLE_LENGTH, Override, OverrideEnd, Scope
from mailwarren.sender.domain.in_force import BREAKER, Force

FIRST_SPAN = 60.0
LONGEST_SPAN = 1800.0


class Breaker:
    """Counts, for each site, failures since a connection worked; ``now`` is Unix time.

    Args:
        first: Seconds that a site is left alone at first; doubled each time that the connection tried afterwards fails.
        longest: Seconds at most.
    """

    def __init__(self, first: float = FIRST_SPAN, longest: float = LONGEST_SPAN) -> None:
        self._first = first
        self._longest = longest
        self._failures: Counter[str] = Counter()

    def failed(self, site: str, most: int, force: Force, sample: str, now: float) -> Override | None:
        """A connection failed; the override to be put in force, when that was one too many.

        Args:
            site: Its name.
            most: Its ``breaker``.
            force: What is in force for it.
            sample: What the failure was.
            now: Unix time.
        """
        if force.suspended is not None:
            return None
        self._failures[site] += 1
        if force.probed is not None:
            span = min(2 * (force.probed.until - force.probed.since), self._longest)
        elif self._failures[site] >= most:
            span = self._first
        else:
            return None
        del self._failures[site]
        # Senders that see the same within a minute write the same override.
        ident = override_id(Scope.SITE, site, BREAKER, int(now // FIRST_SPAN))
        return Override(
            ident, Scope.SITE, site, now, now + span, suspend=True, cause=BREAKER, sample=sample[:SAMPLE_LENGTH]
        )

    def worked(self, site: str, force: Force, now: float) -> OverrideEnd | None:
        """A connection stands; the end of the breaker's override, when it was the one that tried."""
        self._failures.pop(site, None)
        return OverrideEnd(force.probed.id, now, BREAKER) if force.probed is not None else None
