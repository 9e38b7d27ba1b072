"""Bytes in hand are bounded, in order of arrival."""

import asyncio

import pytest

from mailwarren.runtime.room import Room


async def enter(room: Room, size: int, log: list[str], name: str, leave: asyncio.Event) -> None:
    await room.enter(size)
    try:
        log.append(name)
        await leave.wait()
    finally:
        room.leave(size)
    log.append(f"{name} left")


async def test_who_does_not_fit_waits_and_so_does_everybody_behind() -> None:
    room, log, gates = Room(10), [], [asyncio.Event() for _ in range(3)]
    tasks = [
        asyncio.create_task(enter(room, size, log, name, gate))
        for size, name, gate in zip((6, 6, 1), "abc", gates, strict=True)
    ]
    await asyncio.sleep(0)
    assert log == ["a"]
    gates[0].set()
    await asyncio.sleep(0.01)
    assert log == ["a", "a left", "b", "c"]
    gates[1].set()
    gates[2].set()
    await asyncio.gather(*tasks)


async def test_who_fits_is_known_before_he_enters() -> None:
    room = Room(10)
    assert room.fits(100)
    await room.enter(6)
    assert (room.fits(4), room.fits(5)) == (True, False)
    waiting = asyncio.create_task(room.enter(5))
    await asyncio.sleep(0)
    assert not room.fits(1)
    room.leave(6)
    await waiting
    assert room.fits(5)


async def test_what_fits_nowhere_goes_alone() -> None:
    room, log, gate = Room(10), [], asyncio.Event()
    tasks = [asyncio.create_task(enter(room, size, log, str(size), gate)) for size in (100, 1)]
    await asyncio.sleep(0.01)
    assert log == ["100"]
    gate.set()
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("served", [False, True])
async def test_who_gives_up_leaves_no_hole(served: bool) -> None:
    room, log, gates = Room(10), [], [asyncio.Event() for _ in range(3)]
    tasks = [asyncio.create_task(enter(room, 10, log, str(n), gates[n])) for n in range(3)]
    await asyncio.sleep(0)
    if served:
        gates[0].set()
        while len(log) < 1:
            await asyncio.sleep(0)
    tasks[1].cancel()
    gates[0].set()
    await asyncio.sleep(0.01)
    assert "2" in log
    gates[1].set()
    gates[2].set()
    await asyncio.gather(*tasks, return_exceptions=True)
    async with asyncio.timeout(1):
        await room.enter(10)
