"""Who gets which connection: the cases that only a certain order of events brings about."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from mailwarren.sender.smtp import (
    Abandoned,
    ClientSettings,
    Host,
    Share,
    Site,
    SiteLimits,
    TlsContexts,
    Unreachable,
    UnreachableKind,
)
from mailwarren.sender.smtp.client import open_session
from mailwarren.sender.smtp.connection import Connection
from mailwarren.sender.smtp.result import NoSession
from mailwarren.sender.smtp.sitepool import MOST_TURNS, SitePool
from mailwarren.sender.smtp.waiting import Found

CLOSED, GONE = "closed", "gone"
DOWN = NoSession(Unreachable(UnreachableKind.CONNECT, "refused", "x"), "x")


@dataclass
class Dial:
    """One dial of the pool under test: it ends when and as the test says."""

    site: Site
    end: "asyncio.Future[NoSession | str | None]"


class Switchboard:
    """Opens real connections to the scripted server, each when the test lets it."""

    def __init__(self, target: Site) -> None:
        self.target = target
        self.settings = ClientSettings("sender.example", TlsContexts())
        self.dials: list[Dial] = []
        self.emptied = 0
        self.freed: list[str] = []

    async def dial(self, pool: SitePool, site: Site) -> Connection | NoSession:
        dial = Dial(site, asyncio.get_running_loop().create_future())
        self.dials.append(dial)
        end = await dial.end
        if isinstance(end, NoSession):
            return end
        opened = await open_session(self.target.hosts[0], self.target, self.settings)
        assert isinstance(opened, Connection)
        opened.route = site.route
        if end in {CLOSED, GONE}:
            opened.abort()
        while end == GONE and not opened.gone:
            await asyncio.sleep(0)
        return opened

    async def connect(self, pool: SitePool, site: Site, **options: Any) -> Connection:
        """Have a connection opened; it comes busy."""
        waiting = asyncio.create_task(pool.acquire(site, **options))
        await _settle()
        self.dials.pop().end.set_result(None)
        found = await waiting
        assert isinstance(found, Connection)
        return found


@pytest.fixture
async def board(server) -> Switchboard:
    return Switchboard((await server()).site())


@pytest.fixture
async def make(board) -> AsyncIterator[Callable[[int], SitePool]]:
    pools = []

    def emptied(_: SitePool) -> None:
        board.emptied += 1

    def make(connections: int) -> SitePool:
        limits = SiteLimits(connections=connections, messages_per_connection=10**6)
        share = Share(connections)
        pools.append(
            SitePool("x", limits, share, dial=board.dial, dial_hold=60.0, emptied=emptied, freed=board.freed.append)
        )
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()
        pool.cut()


A, B = (Site("x", (Host(name, 25),)) for name in "ab")


def _wait(pool: SitePool, site: Site, **options: Any) -> "asyncio.Task[Found]":
    return asyncio.create_task(pool.acquire(site, **options))


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_connection_given_to_a_sender_cancelled_in_that_moment_is_not_lost(make, board):
    pool = make(1)
    connection = await board.connect(pool, A)
    waiting = _wait(pool, A)
    await _settle()

    pool.release(connection)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert pool.take_idle(A.route) is connection


async def test_a_sender_cancelled_just_before_it_would_be_served_is_passed_over(make, board):
    pool = make(1)
    connection = await board.connect(pool, A)
    first, second = _wait(pool, A), _wait(pool, A)
    await _settle()

    first.cancel()
    pool.release(connection)

    assert await second is connection
    assert pool.stats().waiting == 0


async def test_a_connection_stays_with_its_route_for_some_turns_and_then_makes_room(make, board):
    pool = make(1)
    connection = await board.connect(pool, A)
    other = _wait(pool, B)
    await _settle()
    same = [_wait(pool, A) for _ in range(MOST_TURNS + 5)]
    await _settle()

    for turn in range(MOST_TURNS):
        pool.release(connection)
        assert await same[turn] is connection
    assert not connection.closed
    pool.release(connection)
    assert connection.closed

    async with asyncio.timeout(1):
        while not board.dials:
            await asyncio.sleep(0)
    assert [dial.site for dial in board.dials] == [B]
    board.dials[0].end.set_result(None)
    assert isinstance(await other, Connection)
    for task in same[MOST_TURNS:]:
        task.cancel()


async def test_turns_begin_anew_when_the_head_of_the_line_was_served(make, board):
    pool = make(1)
    connection = await board.connect(pool, A)
    connection.turns = MOST_TURNS
    head = _wait(pool, A)
    await _settle()

    pool.release(connection)

    assert await head is connection
    assert connection.turns == 0


async def test_as_many_are_dialled_as_wait_up_to_the_limit(make, board):
    pool = make(3)
    two = [_wait(pool, A) for _ in range(2)]
    await _settle()
    assert len(board.dials) == 2
    more = [_wait(pool, A) for _ in range(5)]
    await _settle()
    assert len(board.dials) == 3
    assert pool.stats().dialling == 3
    for task in two + more:
        task.cancel()


async def test_who_waits_takes_what_comes_first(make, board):
    pool = make(2)
    connection = await board.connect(pool, A)
    waiting = _wait(pool, A)
    await _settle()
    assert len(board.dials) == 1

    pool.release(connection)
    assert await waiting is connection

    board.dials[0].end.set_result(None)
    async with asyncio.timeout(1):
        while pool.stats().idle == 0:
            await asyncio.sleep(0.01)
    # Never used, but the server may have tired of it: it is no fresh one any more.
    rested = pool.take_idle(A.route)
    assert rested is not None
    assert rested.kept


@pytest.mark.parametrize("end", [CLOSED, GONE])
async def test_a_connection_lost_as_it_is_adopted_is_told_to_one_and_frees_its_slot(make, board, end):
    pool = make(1)
    one, two = _wait(pool, A), _wait(pool, A)
    await _settle()

    board.dials.pop().end.set_result(end)

    async with asyncio.timeout(1):
        lost = await one
        while not board.dials:
            await asyncio.sleep(0)
    assert isinstance(lost, Connection)
    assert lost.closed
    assert not two.done()
    pool.release(lost)
    board.dials.pop().end.set_result(None)
    assert isinstance(await two, Connection)


async def test_a_connection_lost_while_it_rests_is_given_to_nobody(make, board):
    pool = make(2)
    busy, resting = [await board.connect(pool, A) for _ in range(2)]
    pool.release(resting)

    resting.abort()
    async with asyncio.timeout(1):
        while not resting.gone:
            await asyncio.sleep(0)

    assert pool.take_idle(A.route) is None
    assert (pool.stats().open, pool.stats().busy, pool.stats().idle) == (1, 1, 0)
    pool.release(busy)


async def test_a_refused_dial_beside_a_standing_connection_holds_further_dials(make, board):
    pool = make(3)
    connection = await board.connect(pool, A)
    waiting = _wait(pool, A)
    await _settle()
    board.dials.pop().end.set_result(DOWN)
    await _settle()
    assert not waiting.done()
    assert board.dials == []

    # Another route is not held, nor is one who can use no connection that stands.
    other, fresh = _wait(pool, B), _wait(pool, A, fresh=True)
    await _settle()
    assert [dial.site for dial in board.dials] == [B, A]
    pool.release(connection)
    assert await waiting is connection
    other.cancel()
    fresh.cancel()


async def test_a_held_route_dials_again_once_its_last_connection_is_gone(make, board):
    pool = make(3)
    connection = await board.connect(pool, A)
    waiting = _wait(pool, A)
    await _settle()
    board.dials.pop().end.set_result(DOWN)
    await _settle()

    connection.abort()

    async with asyncio.timeout(1):
        while not board.dials:
            await asyncio.sleep(0)
    board.dials.pop().end.set_result(None)
    assert isinstance(await waiting, Connection)


async def test_all_hear_of_it_when_the_last_dial_of_a_route_fails(make, board):
    pool = make(2)
    waiting = [_wait(pool, A) for _ in range(5)]
    await _settle()

    board.dials[0].end.set_result(DOWN)
    await _settle()
    assert not any(task.done() for task in waiting)
    board.dials[1].end.set_result(DOWN)

    assert await asyncio.gather(*waiting) == [DOWN] * 5
    assert len(board.dials) == 2
    assert board.emptied == 1


async def test_a_failure_of_one_route_is_nothing_to_another(make, board):
    pool = make(2)
    one, two = _wait(pool, A), _wait(pool, B)
    await _settle()

    board.dials[0].end.set_result(DOWN)

    assert await one == DOWN
    assert not two.done()
    board.dials[1].end.set_result(None)
    assert isinstance(await two, Connection)


async def test_a_fresh_connection_is_one_that_was_never_used(make, board):
    pool = make(2)
    kept = await board.connect(pool, A)
    pool.release(kept)

    fresh = await board.connect(pool, A, fresh=True)

    assert fresh is not kept
    assert not fresh.kept
    assert await pool.acquire(A) is kept
    assert kept.kept


async def test_who_needs_a_fresh_connection_is_served_before_the_others(make, board):
    pool = make(1)
    first = _wait(pool, A)
    await _settle()
    fresh = _wait(pool, A, fresh=True)
    await _settle()

    board.dials[0].end.set_result(None)

    connection = await fresh
    assert not first.done()
    pool.release(connection)
    assert await first is connection


async def test_who_needs_a_fresh_connection_gets_the_next_slot(make, board):
    pool = make(1)
    dead = await board.connect(pool, A)
    other = _wait(pool, B)
    await _settle()
    fresh = _wait(pool, A, fresh=True)
    await _settle()

    dead.abort()

    async with asyncio.timeout(1):
        while not board.dials:
            await asyncio.sleep(0)
    assert [dial.site for dial in board.dials] == [A]
    other.cancel()
    fresh.cancel()


async def test_who_needs_a_fresh_connection_that_cannot_be_had_hears_of_it(make, board):
    pool = make(2)
    await board.connect(pool, A)
    fresh = _wait(pool, A, fresh=True)
    await _settle()

    board.dials.pop().end.set_result(DOWN)

    assert await fresh == DOWN
    await _settle()
    assert board.dials == []


async def test_a_bug_in_dialling_reaches_those_who_wait(make, board):
    pool = make(1)
    waiting = _wait(pool, A)
    await _settle()

    board.dials[0].end.set_exception(ZeroDivisionError)

    with pytest.raises(ZeroDivisionError):
        await waiting
    assert board.emptied == 1


async def test_a_head_that_is_held_does_not_stand_in_the_way_of_another_route(make, board):
    pool = make(2)
    held = await board.connect(pool, A)
    head = _wait(pool, A)
    await _settle()
    board.dials.pop().end.set_result(DOWN)
    await _settle()

    other = await board.connect(pool, B)

    assert other.route == B.route
    assert not head.done()
    pool.release(held)
    assert await head is held


async def test_one_that_rests_for_another_route_makes_room(make, board):
    pool = make(1)
    resting = await board.connect(pool, A)
    pool.release(resting)
    waiting = _wait(pool, B)
    await _settle()
    assert resting.closed

    async with asyncio.timeout(1):
        while not board.dials:
            await asyncio.sleep(0)
    board.dials[0].end.set_result(None)
    assert isinstance(await waiting, Connection)


async def test_a_rise_of_the_limit_is_used_for_those_who_wait(make, board):
    pool = make(1)
    await board.connect(pool, A)
    waiting = [_wait(pool, A) for _ in range(2)]
    await _settle()
    assert board.dials == []

    pool.share = Share(2)
    late = _wait(pool, A)
    await _settle()

    assert len(board.dials) == 1
    for task in (*waiting, late):
        task.cancel()


async def test_a_lower_limit_lets_connections_go_when_they_are_released(make, board):
    pool = make(2)
    connections = [await board.connect(pool, A) for _ in range(2)]

    pool.share = Share(1)
    for connection in connections:
        pool.release(connection)

    assert [connection.closed for connection in connections] == [True, False]


async def test_a_closed_pool_turns_everybody_away_and_gives_up_its_dials(make, board):
    pool = make(2)
    connection = await board.connect(pool, A)
    waiting = _wait(pool, A)
    await _settle()

    pool.close()

    assert await waiting == Abandoned()
    assert await pool.acquire(A) == Abandoned()
    await _settle()
    assert pool.stats().dialling == 0
    pool.release(connection)
    assert connection.closed
