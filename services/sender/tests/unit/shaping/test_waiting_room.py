"""Mails that wait for a slow site: in turn, bounded, and never longer than there is a reason to."""

import asyncio
from collections.abc import Callable

from mailwarren.sender.incoming import Incoming
from mailwarren.sender.shaping.waiting import Waiting, WaitingRoom


def a_message(queue: str = "send.bulk.h1", size: int = 100) -> Incoming:
    return Incoming(bytes(size), {}, queue, "bulk.h1", redelivered=False, owned=lambda: True)


def enter(
    room: WaitingRoom, site: str = "x", message: Incoming | None = None, still: Callable[[], bool] = lambda: True
) -> "asyncio.Task[bool]":
    waiting = Waiting(message or a_message(), 0.0, still)
    return asyncio.create_task(room.wait(site, waiting, 5.0))


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_turns_come_in_order_of_arrival_and_for_one_site_alone() -> None:
    room = WaitingRoom(100, 10**6, 100)
    tasks = [enter(room, "x") for _ in range(4)]
    other = enter(room, "y")
    await settle()
    room.call("x", 2)
    room.call("nobody", 2)
    room.call("x", -3)
    await settle()
    assert [task.done() for task in (*tasks, other)] == [True, True, False, False, False]
    assert [await task for task in tasks[:2]] == [True, True]
    assert (len(room), room.count("x"), set(room.sites)) == (3, 2, {"x", "y"})
    room.look_again("x")
    assert [await task for task in tasks[2:]] == [False, False]
    room.call("y", 9)
    assert await other
    assert (len(room), room.sites) == (0, ())


async def test_who_has_something_else_to_do_leaves() -> None:
    room, wanted = WaitingRoom(100, 10**6, 100), [True]
    goes, stays = enter(room, still=lambda: wanted[0]), enter(room)
    await settle()
    wanted[0] = False
    room.look_around()
    assert await goes is False
    await settle()
    assert not stays.done()
    stays.cancel()
    await asyncio.gather(stays, return_exceptions=True)
    assert (len(room), room.sites) == (0, ())


async def test_a_wait_ends_by_itself() -> None:
    room = WaitingRoom(100, 10**6, 100)
    assert await room.wait("x", Waiting(a_message(), 0.0, lambda: True), 0.01) is False
    assert len(room) == 0


async def test_it_is_bounded_for_the_process_and_for_each_site() -> None:
    room, message = WaitingRoom(4, 10**6, 100), a_message()
    tasks = [enter(room, "x", message) for _ in range(2)]
    await settle()
    assert not room.has_room("x", message, provider=False)
    assert room.has_room("y", message, provider=False)
    assert room.has_room("x", message, provider=True)
    tasks += [enter(room, "y", message) for _ in range(2)]
    await settle()
    assert not room.has_room("z", message, provider=False)
    room.look_again("x")
    room.look_again("y")
    await asyncio.gather(*tasks)
    assert room.has_room("x", message, provider=False)


async def test_octets_count_once_for_each_parcel() -> None:
    room, big = WaitingRoom(100, 1000, 100), a_message(size=900)
    tasks = [enter(room, "x", big) for _ in range(3)]
    await settle()
    assert room.has_room("x", big, provider=False)
    assert not room.has_room("x", a_message(size=200), provider=True)
    assert room.has_room("x", a_message(size=100), provider=False)
    room.call("x", 3)
    await asyncio.gather(*tasks)
    assert room.has_room("x", a_message(size=200), provider=True)


async def test_a_hashed_shards_prefetch_is_not_used_up_and_other_shards_have_their_own() -> None:
    room, first = WaitingRoom(100, 10**6, 4), a_message()
    tasks = [enter(room, "x", message) for message in (first, first, a_message())]
    await settle()
    assert room.has_room("x", first, provider=False)
    assert not room.has_room("x", a_message(), provider=False)
    assert room.has_room("y", a_message(), provider=False), "one site takes no more than half"
    assert room.has_room("x", a_message("send.bulk.h2"), provider=False)
    assert room.has_room("x", a_message(), provider=True)
    tasks += [enter(room, "y", a_message()) for _ in range(2)]
    await settle()
    assert not room.has_room("z", a_message(), provider=False)
    room.call("x", 3)
    room.call("y", 3)
    await asyncio.gather(*tasks)
    assert room.has_room("x", a_message(), provider=False)
