"""How many hits are recorded: whoever has an address can fetch it as often as he likes. Pure."""

from uuid import UUID

WINDOW = 60.0
"""Seconds."""
EACH = 30
"""Hits of one delivery in a window; a reader who opens a mail again and again is far below it."""
ALL = 120_000
"""Hits of all mail in a window, for one process."""


class HitBounds:
    """Counts hits by their delivery, in windows of a minute."""

    def __init__(self, each: int = EACH, everything: int = ALL) -> None:
        self._each = each
        self._all = everything
        self._window = -1
        self._total = 0
        self._counts: dict[UUID, int] = {}

    def takes(self, delivery: UUID, at: float) -> bool:
        """Whether a hit ``at`` this time (seconds) is recorded; one that is not is answered all the same."""
        if (window := int(at // WINDOW)) != self._window:
            self._window, self._total = window, 0
            self._counts.clear()
        count = self._counts.get(delivery, 0)
        if count >= self._each or self._total >= self._all:
            return False
        self._counts[delivery] = count + 1
        self._total += 1
        return True
