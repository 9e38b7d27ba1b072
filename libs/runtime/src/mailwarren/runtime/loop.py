"""Watches the asyncio loop that it runs in: a loop that is held up by one task answers nobody."""

import asyncio

from mailwarren.runtime.metrics import record_lag

EVERY = 0.25
"""Seconds between two looks: whatever holds the loop longer is surely seen."""


async def watch_loop(name: str) -> None:
    """Record, until it is cancelled, how late the loop comes to a timer, and that it turns."""
    loop = asyncio.get_running_loop()
    record_lag(name, 0.0)
    while True:
        due = loop.time() + EVERY
        await asyncio.sleep(EVERY)
        record_lag(name, max(0.0, loop.time() - due))
