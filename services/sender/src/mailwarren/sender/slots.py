"""A bound on the deliveries worked on at once, given out by the handful."""

import asyncio
from collections import deque


class Slots:
    """Like a semaphore that wakes one waiter a turn of the loop, who takes all that have become free until then.

    Args:
        limit: how many there are.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._free = limit
        self._line: deque[asyncio.Future[None]] = deque()
        self._waking = False

    @property
    def used(self) -> int:
        """How many are taken."""
        return self._limit - self._free

    async def take(self, most: int) -> int:
        """Return how many were taken: ``most``, or fewer, but at least one. First come, first served."""
        if self._line or self._waking or not self._free:
            turn = asyncio.get_running_loop().create_future()
            self._line.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.cancelled():
                    self._line.remove(turn)
                else:
                    self._waking = False
                self._wake()
                raise
            self._waking = False
        taken = min(self._free, most)
        self._free -= taken
        self._wake()
        return taken

    def give(self, count: int = 1) -> None:
        """They are free again."""
        self._free += count
        self._wake()

    def _wake(self) -> None:
        # A head that was cancelled a moment ago takes itself out, and wakes the next.
        if self._line and self._free and not self._waking and not self._line[0].done():
            self._waking = True
            self._line.popleft().set_result(None)
