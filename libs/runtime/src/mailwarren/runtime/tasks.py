"""Ends tasks for sure."""

import asyncio
from collections.abc import Iterable
from typing import Any

AGAIN = 0.5
"""Seconds after which a task that goes on is cancelled again."""


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and return when all have ended, however they did; their errors are not raised.

    Once is not enough. A cancel can be lost: Python 3.11's ``wait_for``, with which aiormq waits, forgets one that
    meets the end of what it waits for, and a channel that is closed under a cancelled call ends it as a lost connection
    does, after which a loop looks again.
    """
    ending = list(tasks)
    running = {task for task in ending if not task.done()}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=AGAIN)
    # Or the loop reports errors that nobody has looked at.
    await asyncio.gather(*ending, return_exceptions=True)
