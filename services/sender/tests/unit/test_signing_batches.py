"""Pieces of work are handed to threads together when they wait anyway, and each has its own end."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from mailwarren.sender.signing.batches import MOST, Batches


class Counting(ThreadPoolExecutor):
    """Remembers how many pieces each hand-over had."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        self.sizes: list[int] = []

    def submit(self, fn, /, *args, **kwargs):
        done = super().submit(fn, *args, **kwargs)
        self.sizes.append(len(args[1]))
        return done


@pytest.fixture
def threads() -> Iterator[Counting]:
    with Counting(2) as executor:
        yield executor


async def test_what_comes_while_a_thread_is_free_goes_at_once(threads):
    batches = Batches(threads, 2)
    for number in range(3):
        assert await batches.run(lambda number=number: number) == number
    assert threads.sizes == [1, 1, 1]


async def test_free_threads_share_what_comes_together(threads):
    batches = Batches(threads, 2)
    assert await asyncio.gather(*(batches.run(lambda number=number: number) for number in range(6))) == list(range(6))
    assert threads.sizes == [3, 3]


async def test_what_waits_goes_together_in_order_and_not_without_end(threads):
    batches, gate = Batches(threads, 1), threading.Event()
    done: list[int] = []
    blocked = asyncio.create_task(batches.run(gate.wait))
    await asyncio.sleep(0)
    others = [asyncio.create_task(batches.run(lambda number=number: done.append(number))) for number in range(20)]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(blocked, *others)
    assert threads.sizes == [1, MOST, MOST, 4]
    assert done == list(range(20))


async def test_an_error_belongs_to_its_piece_alone(threads):
    def fail() -> None:
        raise ValueError("of this one")

    batches = Batches(threads, 1)
    found = await asyncio.gather(batches.run(fail), batches.run(lambda: "fine"), return_exceptions=True)
    assert [str(one) for one in found] == ["of this one", "fine"]
    assert await batches.run(lambda: "still") == "still"


async def test_what_nobody_waits_for_any_more_is_left_out(threads):
    batches, gate = Batches(threads, 1), threading.Event()
    done: list[str] = []
    blocked = asyncio.create_task(batches.run(gate.wait))
    await asyncio.sleep(0)
    given_up = asyncio.create_task(batches.run(lambda: done.append("in vain")))
    wanted = asyncio.create_task(batches.run(lambda: done.append("wanted")))
    await asyncio.sleep(0)
    given_up.cancel()
    blocked.cancel()
    await asyncio.sleep(0)
    gate.set()
    await wanted
    assert done == ["wanted"]


async def test_ended_threads_are_an_error_and_nobody_waits_for_ever(threads):
    batches = Batches(threads, 2)
    threads.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        await asyncio.wait_for(batches.run(lambda: None), 5)
