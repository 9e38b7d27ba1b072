"""Who gets which connection: the cases that only a certain order of events brings about."""

import asyncio
from typing import Any

import pytest

from mailwarren.sender.smtp import ClientSettings, SiteLimits, TlsContexts
from mailwarren.sender.smtp.client import open_session
from mailwarren.sender.smtp.connection import Connection
from mailwarren.sender.smtp.sitepool import MOST_TURNS, SitePool
from mailwarren.sender.smtp.waiting import Grant


@pytest.fixture
async def emptied() -> list[SitePool]:
    return []


@pytest.fixture
async def sites(emptied, nothing_leaks):
    pools = []

    def make(connections: int) -> SitePool:
        limits = SiteLimits(connections=connections, messages_per_connection=10**6)
        pools.append(SitePool("x", limits, dial_hold=60.0, emptied=emptied.append))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()
        pool.cut()


@pytest.fixture
async def dial(server):
    """Take a slot and fill it: ``await dial(sites, "a")`` returns a busy connection of route ``a``."""
    target = await server()
    settings = ClientSettings("sender.example", TlsContexts())

    async def dial(sites: SitePool, route: str) -> Connection:
        assert await sites.acquire(route) is Grant.DIAL
        opened = await open_session(target.site().hosts[0], target.site(), settings)
        assert isinstance(opened, Connection)
        opened.route = route
        sites.adopt(opened)
        return opened

    return dial


def _waiting(sites: SitePool, route: str, **options: Any) -> "asyncio.Task[Connection | Grant]":
    return asyncio.create_task(sites.acquire(route, **options))


async def _settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_a_connection_given_to_a_sender_cancelled_in_that_moment_is_not_lost(sites, dial):
    pool = sites(1)
    connection = await dial(pool, "a")
    waiting = _waiting(pool, "a")
    await _settle()

    pool.release(connection)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert await pool.acquire("a") is connection


async def test_a_slot_given_to_a_sender_cancelled_in_that_moment_is_not_lost(sites):
    pool = sites(1)
    assert await pool.acquire("a") is Grant.DIAL
    waiting = _waiting(pool, "a")
    await _settle()

    pool.dial_ended("a", failed=False)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    async with asyncio.timeout(1):
        assert await pool.acquire("a") is Grant.DIAL


async def test_a_sender_cancelled_just_before_it_would_be_served_is_passed_over(sites, dial):
    pool = sites(1)
    connection = await dial(pool, "a")
    first, second = _waiting(pool, "a"), _waiting(pool, "a")
    await _settle()

    first.cancel()
    pool.release(connection)

    assert await second is connection
    assert pool.stats().waiting == 0


async def test_a_connection_stays_with_its_route_for_some_turns_and_then_makes_room(sites, dial):
    pool = sites(1)
    connection = await dial(pool, "a")
    other = _waiting(pool, "b")
    await _settle()
    same = [_waiting(pool, "a") for _ in range(MOST_TURNS + 5)]
    await _settle()

    for turn in range(MOST_TURNS):
        pool.release(connection)
        assert await same[turn] is connection
    assert not connection.closed
    pool.release(connection)

    assert connection.closed
    assert await other is Grant.DIAL
    pool.dial_ended("b", failed=True)
    # Nobody is left out: the next of the first route gets the slot.
    assert await same[MOST_TURNS] is Grant.DIAL
    for task in same[MOST_TURNS + 1 :]:
        task.cancel()


async def test_turns_begin_anew_when_the_head_of_the_line_was_served(sites, dial):
    pool = sites(1)
    connection = await dial(pool, "a")
    connection.turns = MOST_TURNS
    head = _waiting(pool, "a")
    await _settle()

    pool.release(connection)

    assert await head is connection
    assert connection.turns == 0


async def test_a_connection_that_was_lost_before_it_was_adopted_frees_its_slot(sites, server, emptied, until):
    pool = sites(1)
    target = await server()
    assert await pool.acquire("a") is Grant.DIAL
    opened = await open_session(target.site().hosts[0], target.site(), ClientSettings("sender.example", TlsContexts()))
    assert isinstance(opened, Connection)
    opened.route = "a"
    opened.abort()
    await until(lambda: opened.gone)

    pool.adopt(opened)

    assert emptied == [pool]
    assert await pool.acquire("a") is Grant.DIAL


async def test_who_comes_back_to_the_line_stands_at_its_head(sites, dial):
    pool = sites(1)
    connection = await dial(pool, "a")
    first = _waiting(pool, "a")
    await _settle()
    back = _waiting(pool, "a", at_head=True)
    await _settle()

    pool.release(connection)

    assert await back is connection
    assert not first.done()
    first.cancel()


async def test_a_refused_dial_beside_a_standing_connection_holds_further_dials(sites, dial):
    pool = sites(3)
    connection = await dial(pool, "a")
    assert await pool.acquire("a") is Grant.DIAL
    assert pool.dial_ended("a", failed=True)
    waiting = _waiting(pool, "a")
    await _settle()
    assert not waiting.done()

    # Another route is not held, nor is one who can use no other connection.
    assert await pool.acquire("b") is Grant.DIAL
    assert await pool.acquire("a", fresh=True) is Grant.DIAL
    pool.release(connection)
    assert await waiting is connection


async def test_a_held_route_dials_again_once_its_last_connection_is_gone(sites, dial, until):
    pool = sites(3)
    connection = await dial(pool, "a")
    assert await pool.acquire("a") is Grant.DIAL
    assert pool.dial_ended("a", failed=True)
    waiting = _waiting(pool, "a")
    await _settle()

    connection.abort()

    async with asyncio.timeout(1):
        assert await waiting is Grant.DIAL


async def test_a_head_that_is_held_does_not_stand_in_the_way_of_another_route(sites, dial):
    pool = sites(2)
    held = await dial(pool, "a")
    assert await pool.acquire("a") is Grant.DIAL
    assert pool.dial_ended("a", failed=True)
    head = _waiting(pool, "a")
    await _settle()

    async with asyncio.timeout(1):
        assert await pool.acquire("b") is Grant.DIAL
    assert not head.done()
    pool.release(held)
    assert await head is held


async def test_a_sender_that_wants_a_fresh_connection_is_given_no_kept_one(sites, dial, until):
    pool = sites(2)
    kept = await dial(pool, "a")
    pool.release(kept)

    assert await pool.acquire("a", fresh=True) is Grant.DIAL
    assert await pool.acquire("a") is kept


async def test_a_rise_of_the_limit_is_used_by_those_who_wait(sites, dial):
    pool = sites(1)
    await dial(pool, "a")
    waiting = _waiting(pool, "a")
    await _settle()

    pool.limits = SiteLimits(connections=2)
    late = _waiting(pool, "a")

    assert await waiting is Grant.DIAL
    assert not late.done()
    late.cancel()


async def test_a_closed_pool_turns_everybody_away(sites, dial):
    pool = sites(1)
    connection = await dial(pool, "a")
    waiting = _waiting(pool, "a")
    await _settle()

    pool.close()

    assert await waiting is Grant.CLOSED
    assert await pool.acquire("a") is Grant.CLOSED
    pool.release(connection)
    assert connection.closed
