"""Pacing: a token bucket that starts empty and holds one token, and what a timer's lateness would have cost."""

import asyncio
from collections.abc import Callable

LATE = 0.1
"""Seconds that a wake-up may be late without loss: what ran over in them is kept, beside the one token."""
HAIR = 1e-6
"""A timer that is set for the moment of a token may find so much less than one."""


class Pace:
    """One mail at a time, evenly. Times are of a monotonic clock, in seconds.

    A new one is empty: whoever takes over a share of a limit from somebody else begins no mail on credit.

    Args:
        rate: Tokens a second.
        now: When it begins.
        credit: Tokens that it begins with, where nothing is taken over.
    """

    __slots__ = ("_at", "_level", "rate")

    def __init__(self, rate: float, now: float, credit: float = 0.0) -> None:
        self.rate = rate
        self._at = now
        self._level = credit

    def set_rate(self, rate: float, now: float) -> None:
        """Go on at ``rate``; what has run in stays, but for what a rate of nothing leaves."""
        self._run(now)
        self.rate = rate
        self._level = min(self._level, self._most) if rate > 0 else 0.0

    def take(self, now: float) -> bool:
        """Whether there was a token, which is now taken."""
        self._run(now)
        if self._level < 1 - HAIR:
            return False
        self._level -= 1
        return True

    def wait(self, now: float) -> float:
        """Seconds until there is a token; infinite at a rate of nothing."""
        self._run(now)
        if self._level >= 1 - HAIR:
            return 0.0
        return (1 - self._level) / self.rate if self.rate > 0 else float("inf")

    @property
    def _most(self) -> float:
        return 1 + self.rate * LATE

    def _run(self, now: float) -> None:
        if now > self._at:
            self._level = min(self._level + (now - self._at) * self.rate, self._most)
            self._at = now


class Pacer:
    """A :class:`Pace` in a running loop: who found no token is called when there is one.

    Args:
        wake: Called then, once for any number of refusals.
        credit: As of a :class:`Pace`.
    """

    __slots__ = ("_loop", "_pace", "_timer", "_wake")

    def __init__(
        self, rate: float, loop: asyncio.AbstractEventLoop, wake: Callable[[], None], credit: float = 0.0
    ) -> None:
        self._loop = loop
        self._wake = wake
        self._pace = Pace(rate, loop.time(), credit)
        self._timer: asyncio.TimerHandle | None = None

    def set_rate(self, rate: float) -> None:
        """Go on at ``rate``."""
        if rate != self._pace.rate:
            self._pace.set_rate(rate, self._loop.time())
            if self._timer is not None:
                self.stop()
                self._arm()

    def take(self) -> bool:
        """Whether there was a token; if not, ``wake`` comes with the next one."""
        if self._pace.take(self._loop.time()):
            return True
        if self._timer is None:
            self._arm()
        return False

    def ready(self) -> bool:
        """Whether there is a token; if not, ``wake`` comes with the next one."""
        if self._pace.wait(self._loop.time()) <= 0:
            return True
        if self._timer is None:
            self._arm()
        return False

    def stop(self) -> None:
        """Wake nobody."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        wait = self._pace.wait(self._loop.time())
        if wait != float("inf"):
            self._timer = self._loop.call_later(wait, self._due)

    def _due(self) -> None:
        self._timer = None
        self._wake()
