"""Several copies of one parcel at one sender: one works, the others wait, and then know what it did.

The broker gives a parcel again after a lost connection, and a publish whose confirm was lost is repeated. Two copies at
one sender would ask the tracker as one asker and both be told to send, so they must not ask side by side.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

Key = tuple[UUID, int]
"""A delivery and the number of an attempt."""

REMEMBERED = 20_000
"""Finished attempts that a process remembers."""


class Copies:
    """Which attempts are in hand in this process, and which it has finished. For one event loop."""

    def __init__(self) -> None:
        self._reserved: dict[Key, asyncio.Future[None]] = {}
        self._finished: OrderedDict[Key, None] = OrderedDict()

    async def wait_free(self, keys: Sequence[Key]) -> bool:
        """Return when none of ``keys`` is in hand; whether any was.

        Who waits holds nothing, and :meth:`reserve` takes all keys in one step, so nobody waits in a circle.
        """
        met = False
        while others := {self._reserved[key] for key in keys if key in self._reserved}:
            met = True
            await asyncio.wait(others)
        return met

    @contextmanager
    def reserve(self, keys: Sequence[Key]) -> Iterator[None]:
        """Inside, ``keys`` are in hand. Nothing may be awaited between :meth:`wait_free` and this."""
        done = asyncio.get_running_loop().create_future()
        self._reserved.update(dict.fromkeys(keys, done))
        try:
            yield
        finally:
            for key in keys:
                del self._reserved[key]
            done.set_result(None)

    def finish(self, key: Key) -> None:
        """The attempt's outcome is confirmed, or its next attempt is on the ladder."""
        self._finished[key] = None
        if len(self._finished) > REMEMBERED:
            self._finished.popitem(last=False)

    def finished(self, key: Key) -> bool:
        """Whether this process has finished the attempt."""
        return key in self._finished
