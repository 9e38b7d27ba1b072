"""A bound on the bytes that are in hand at once: whoever counts messages or requests does not count memory."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Room:
    """Lets in whoever fits, in order of arrival; one that fits nowhere gets in alone.

    Args:
        limit: bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._line: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def hold(self, size: int) -> AsyncIterator[None]:
        """Inside, ``size`` bytes count as used."""
        await self.enter(size)
        try:
            yield
        finally:
            self.leave(size)

    async def enter(self, size: int) -> None:
        """Return when ``size`` bytes count as used; :meth:`leave` must follow."""
        if self.fits(size):
            self._used += size
            return
        turn = asyncio.get_running_loop().create_future()
        self._line.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave(size)
            else:
                self._line.remove((size, turn))
            raise

    def fits(self, size: int) -> bool:
        """Whether :meth:`enter` would return at once."""
        return not self._line and self._fits(size)

    def leave(self, size: int) -> None:
        """``size`` bytes are free, for those who are next in line."""
        self._used -= size
        while self._line and self._fits(self._line[0][0]):
            size, turn = self._line.popleft()
            if not turn.done():
                self._used += size
                turn.set_result(None)

    def _fits(self, size: int) -> bool:
        return self._used == 0 or self._used + size <= self._limit
