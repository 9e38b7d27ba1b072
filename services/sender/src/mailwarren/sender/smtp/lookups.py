"""A bounded cache of lookups in which each key is looked up by one task at a time."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

V = TypeVar("V")


class LookupCache(Generic[V]):
    """Values by name, each for as long as its lookup said.

    Args:
        look_up: Returns the value for a name and the seconds that it holds.
        size: Entries kept; the least recently looked-up leave first.
    """

    def __init__(self, look_up: Callable[[str], Awaitable[tuple[V, float]]], *, size: int) -> None:
        self._look_up = look_up
        self._size = size
        self._entries: OrderedDict[str, tuple[V, float]] = OrderedDict()
        self._running: dict[str, asyncio.Task[V]] = {}

    async def get(self, name: str) -> V:
        """Return the value for ``name``; concurrent calls share one lookup, which outlives their cancellation."""
        entry = self._entries.get(name)
        if entry is not None and time.monotonic() < entry[1]:
            return entry[0]
        task = self._running.get(name)
        if task is None:
            task = self._running[name] = asyncio.create_task(self._fill(name))
            task.add_done_callback(lambda _: self._running.pop(name, None))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Cancel the lookups under way."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _fill(self, name: str) -> V:
        value, seconds = await self._look_up(name)
        self._entries[name] = (value, time.monotonic() + seconds)
        self._entries.move_to_end(name)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)
        return value
