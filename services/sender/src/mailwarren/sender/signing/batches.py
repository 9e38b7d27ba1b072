"""Work that an event loop hands to threads, several pieces at a time.

Each hand-over wakes a thread and then the loop, which costs as much as a small piece. What comes while a thread is free
goes at once, with all else of that turn of the loop; what comes while all are busy waits and goes together.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, TypeVar

MOST = 8
"""Pieces of one hand-over: the first of them waits for the last, some milliseconds at a millisecond each."""

T = TypeVar("T")
_Piece = tuple[Callable[[], Any], "asyncio.Future[Any]"]
_Result = tuple[Any, Exception | None]


class Batches:
    """Hands pieces of work over, in their order. For one event loop at a time.

    Args:
        threads: Do the work.
        width: How many of them there are.
    """

    def __init__(self, threads: Executor, width: int) -> None:
        self._threads = threads
        self._free = width
        self._waiting: deque[_Piece] = deque()
        self._called = False

    async def run(self, work: Callable[[], T]) -> T:
        """What ``work`` returns, which a thread calls, or what it raises."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._waiting.append((work, done))
        if self._free and not self._called:
            self._called = True
            loop.call_soon(self._hand_over, loop)
        return await done

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        """Share what waits among the threads that are free."""
        self._called = False
        while self._waiting and self._free:
            share = min(MOST, -(-len(self._waiting) // self._free))
            batch = [self._waiting.popleft() for _ in range(share)]
            try:
                self._threads.submit(self._carry_out, loop, batch)
            except RuntimeError as error:  # they were ended
                _tell(batch, [(None, error)] * len(batch))
            else:
                self._free -= 1

    def _carry_out(self, loop: asyncio.AbstractEventLoop, batch: Sequence[_Piece]) -> None:
        """In a thread."""
        results = [_result(work, done) for work, done in batch]
        loop.call_soon_threadsafe(self._landed, loop, batch, results)

    def _landed(self, loop: asyncio.AbstractEventLoop, batch: Sequence[_Piece], results: Sequence[_Result]) -> None:
        self._free += 1
        # The thread first: it works while the loop goes on with what it has done.
        self._hand_over(loop)
        _tell(batch, results)


def _result(work: Callable[[], Any], done: "asyncio.Future[Any]") -> _Result:
    if done.cancelled():
        return None, None
    try:
        return work(), None
    except Exception as error:  # noqa: BLE001 - it is raised where the work was asked for
        return None, error


def _tell(batch: Sequence[_Piece], results: Sequence[_Result]) -> None:
    for (_, done), (result, error) in zip(batch, results, strict=True):
        if done.done():
            continue
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)
