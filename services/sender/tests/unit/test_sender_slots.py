"""Slots are given out in order of arrival, none is lost, and none is given twice."""

import asyncio
import random

import pytest

from mailwarren.sender.slots import Slots


async def test_who_comes_first_takes_what_became_free() -> None:
    slots, got = Slots(3), []

    async def taker(name: str, most: int) -> None:
        got.append((name, await slots.take(most)))

    assert await slots.take(5) == 3
    tasks = [asyncio.create_task(taker("a", 5)), asyncio.create_task(taker("b", 1))]
    await asyncio.sleep(0)
    assert got == [] and slots.used == 3
    slots.give()
    slots.give()
    await asyncio.sleep(0.01)
    assert got == [("a", 2)]
    slots.give(2)
    await asyncio.gather(*tasks)
    assert got == [("a", 2), ("b", 1)] and slots.used == 2


async def test_who_comes_late_passes_nobody() -> None:
    slots, got = Slots(1), []

    async def taker(name: str) -> None:
        await slots.take(1)
        got.append(name)

    await slots.take(1)
    first = asyncio.create_task(taker("first"))
    await asyncio.sleep(0)
    slots.give()  # the first is woken and has not run yet
    second = asyncio.create_task(taker("second"))
    await asyncio.sleep(0.01)
    assert got == ["first"]
    slots.give()
    await asyncio.gather(first, second)


@pytest.mark.parametrize("seed", range(20))
async def test_cancels_lose_no_slot(seed: int) -> None:
    chance, slots = random.Random(seed), Slots(4)
    most_used = 0

    async def worker() -> None:
        nonlocal most_used
        taken = await slots.take(chance.randint(1, 3))
        try:
            most_used = max(most_used, slots.used)
            await asyncio.sleep(chance.random() / 1000)
        finally:
            while taken:
                slots.give()
                taken -= 1

    tasks = [asyncio.create_task(worker()) for _ in range(60)]
    for task in chance.sample(tasks, 25):
        asyncio.get_running_loop().call_later(chance.random() / 100, task.cancel)
    async with asyncio.timeout(5):
        await asyncio.gather(*tasks, return_exceptions=True)
        assert slots.used == 0
        assert await slots.take(9) == 4
    assert most_used <= 4
