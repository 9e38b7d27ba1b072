"""Tasks that are ended have ended."""

import asyncio

import pytest

from mailwarren.runtime import tasks
from mailwarren.runtime.tasks import end


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(tasks, "AGAIN", 0.01)


async def test_a_cancel_that_is_lost_is_repeated():
    lost = 0

    async def deaf():
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if lost == 3:
                    raise
                lost += 1

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await end([task])
    assert (task.cancelled(), lost) == (True, 3)


async def test_errors_and_ends_of_their_own_are_taken():
    async def fails():
        raise ValueError

    async def ends():
        return 1

    ended, failed, slow = (asyncio.create_task(work) for work in (ends(), fails(), asyncio.sleep(60)))
    await asyncio.sleep(0.01)
    async with asyncio.timeout(10):
        await end(task for task in (ended, failed, slow))
        await end([])
    assert (ended.result(), slow.cancelled(), type(failed.exception())) == (1, True, ValueError)


async def test_whoever_waits_may_be_cancelled():
    async def deaf():
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if enough:
                    raise

    enough = False
    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await end([task])
    enough = True
    await end([task])
