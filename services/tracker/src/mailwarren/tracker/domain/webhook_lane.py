"""How much may be on its way to one endpoint at once (pure, with the clock as an argument).

An endpoint that fails gets one event at a time, with a pause between them: its other events wait without using up
their tries, and its slots are free for others. The first success opens it again.
"""

from dataclasses import dataclass

FAILING_AFTER = 3
"""Failures in a row from which an endpoint is taken for failing; one event that it cannot digest is none of its."""
PAUSE_FIRST = 0.5
PAUSE_MOST = 10.0
"""Seconds between two tries at a failing endpoint: what has come back is noticed within them."""


@dataclass(slots=True)
class Lane:
    """An endpoint as this process sees it. Times are seconds of one clock."""

    most: int
    """Events on their way at once."""
    scale: float = 1.0
    """Shortens the pauses, for demos and tests."""
    in_flight: int = 0
    failures: int = 0
    """In a row."""
    paused_until: float = 0.0

    @property
    def failing(self) -> bool:
        """Nothing has come through for some tries."""
        return self.failures >= FAILING_AFTER

    def room(self, now: float) -> int:
        """How many more events may be sent now."""
        if self.failing:
            return 1 if self.in_flight == 0 and now >= self.paused_until else 0
        return max(0, self.most - self.in_flight)

    def began(self) -> None:
        """An event is on its way."""
        self.in_flight += 1

    def ended(self, *, success: bool | None, now: float) -> None:
        """It has arrived, or has not, or (None) was not tried at all."""
        self.in_flight -= 1
        if success is None:
            return
        if success:
            self.failures, self.paused_until = 0, 0.0
            return
        self.failures += 1
        if self.failing:
            pause = min(PAUSE_FIRST * 2.0 ** min(self.failures - FAILING_AFTER, 10), PAUSE_MOST)
            self.paused_until = now + pause * self.scale
