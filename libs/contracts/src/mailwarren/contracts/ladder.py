"""The ladder: fixed-TTL retry queues, and how a wait is laid over them.

Rungs are 5 s x 2^k. A wait is rounded to at most three rungs, so a parcel passes through a sender at most twice
before it is due; the rounding (up to an eighth, upwards) disappears in the retry jitter. Per-message TTLs are not
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
        """The TTL of each rung, shortest first."""
        return tuple(max(1, round(FIRST_RUNG * 2**k * 1000 * self.scale)) for k in range(RUNGS))

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
        unit = self.accuracy
        units = max(1, -int(-seconds // unit))
        longest = int(LONGEST_WAIT * self.scale // unit)
        rounded = _three_bits(units, up=True)
        if rounded > longest:
            rounded = _three_bits(min(units, longest), up=False)
        return rounded * unit

    def next_rung(self, seconds: float) -> str | None:
        """The longest rung that does not overshoot a remaining wait, or None when it is due."""
        if seconds < self.accuracy / 2:
            return None
        fitting = [name for ms, name in zip(self.milliseconds, self.names, strict=True) if ms <= seconds * 1000 + 1]
        return fitting[-1] if fitting else self.names[0]


def _three_bits(units: int, *, up: bool) -> int:
    drop = max(0, units.bit_length() - HOPS)
    kept = units >> drop << drop
    if units.bit_count() <= HOPS:
        return units
    return kept + (1 << drop) if up else kept
