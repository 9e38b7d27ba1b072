"""The ladder: fixed-TTL retry queues, and how a wait is laid over them.

Rungs are 5 s x 2^k. A wait is rounded to at most three rungs, so a parcel passes through a sender at most twice
before it is due; the rounding (less than a seventh, upwards) disappears in the retry jitter. Per-message TTLs are not
used: they block behind each other in one queue (head of line).
"""

from dataclasses import dataclass
from functools import cached_property

FIRST_RUNG = 5.0
"""Seconds of the shortest rung at scale 1, which is also the accuracy of the ladder."""
RUNGS = 12
HOPS = 3
LONGEST_WAIT = 4 * 3600.0
"""No wait is longer (seconds, at scale 1)."""


@dataclass(frozen=True)
class Ladder:
    """The rungs at a time scale: ``scale=0.01`` makes an hour 36 s, for the demo and the tests."""

    scale: float = 1.0

    @cached_property
    def milliseconds(self) -> tuple[int, ...]:
        """The TTL of each rung, shortest first, each twice the one before."""
        first = max(1, round(FIRST_RUNG * 1000 * self.scale))
        return tuple(first << k for k in range(RUNGS))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The name of each rung: its TTL, so that rungs of another scale never collide with these."""
        return tuple(f"{ms // 1000}s" if ms % 1000 == 0 else f"{ms}ms" for ms in self.milliseconds)

    @property
    def accuracy(self) -> float:
        """Seconds: a parcel due within half of this is due now."""
        return self.milliseconds[0] / 1000

    def round_wait(self, seconds: float) -> float:
        """``seconds`` as a sum of at most three rungs: rounded up, except above the longest wait."""
        unit = self.milliseconds[0]
        units = max(1, -(-round(seconds * 1000) // unit))
        longest = max(1, round(LONGEST_WAIT * 1000 * self.scale) // unit)
        rounded = _few_bits_up(units)
        if rounded > longest:
            rounded = _few_bits_down(min(units, longest))
        return rounded * unit / 1000

    def next_rung(self, seconds: float) -> str | None:
        """The longest rung that overshoots a remaining wait by at most half the accuracy; None when it is due.

        A rung is never left on time to the millisecond: to take the next of 40 s when 39.99 s remain is what keeps
        a wait at three hops.
        """
        units = round(seconds * 1000 / self.milliseconds[0])
        return self.names[min(units.bit_length(), RUNGS) - 1] if units > 0 else None


def _few_bits_up(units: int) -> int:
    """The smallest number from ``units`` up with at most three bits: one rung for each."""
    while units.bit_count() > HOPS:
        units += units & -units
    return units


def _few_bits_down(units: int) -> int:
    """The greatest number from ``units`` down with at most three bits."""
    while units.bit_count() > HOPS:
        units &= units - 1
    return units
