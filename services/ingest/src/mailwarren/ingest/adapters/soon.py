"""Reading what the tracker is about to write."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

FIRST_WAIT = 0.05
WAIT_GROWTH = 1.5


async def soon(read: Callable[[], Awaitable[T | None]], within: float) -> T | None:
    """What ``read`` finds, looking again for ``within`` seconds while it finds nothing.

    Things are recorded by the tracker, usually within 100 ms of the API's yes.
    """
    left, pause = within, FIRST_WAIT
    while (found := await read()) is None and left > 0:
        await asyncio.sleep(min(pause, left))
        left -= pause
        pause *= WAIT_GROWTH
    return found
