"""A pool whose rules change while mail flows: limits, TLS, and which site a mail host belongs to."""

import asyncio
from dataclasses import replace

from mailwarren.sender.smtp import Abandoned, Site, SiteLimits, TlsMode

ONE = SiteLimits(connections=1)


def gone(_: Site) -> None:
    """Mail goes another way now."""


async def hold(target) -> asyncio.Event:
    """Have the server take its time over data until the event is set."""
    let_go = asyncio.Event()

    async def wait(_) -> None:
        await let_go.wait()

    target.before_data = wait
    return let_go


async def test_kept_connections_of_a_site_whose_tls_changes_are_closed_and_the_next_mail_has_it(
    server, pool, send, until, authority
):
    target = await server(context=authority.context("localhost"))
    await send(target, tls=TlsMode.OFF)
    assert target.open == 1

    pool.adapt(gone)

    await until(lambda: target.open == 0)
    await send(target, tls=TlsMode.REQUIRED)
    assert [mail.tls for mail in target.mails] == [False, True]


async def test_a_busy_connection_finishes_its_mail_and_those_that_wait_are_told_to_go_another_way(
    server, pool, send, until
):
    target = await server()
    let_go = await hold(target)
    busy = asyncio.create_task(send(target, limits=ONE))
    await until(lambda: any(session.verb == "DATA" for session in target.sessions))
    waiting = [asyncio.create_task(send(target, limits=ONE)) for _ in range(3)]
    await asyncio.sleep(0.05)

    pool.adapt(gone)

    assert [(await task).outcome for task in waiting] == [Abandoned()] * 3
    assert (await send(target, limits=ONE)).outcome == Abandoned()
    assert len(target.sessions) == 1
    let_go.set()
    assert (await busy).outcome.code == 250
    await until(lambda: target.open == 0)
    assert (await send(target, limits=ONE)).outcome.code == 250


async def test_those_behind_a_busy_connection_go_out_on_it_and_no_more_join(server, pool, send, until):
    target = await server()
    limits = SiteLimits(connections=1, behind=3)
    await send(target, limits=limits)
    let_go = await hold(target)
    tasks = [asyncio.create_task(send(target, limits=limits)) for _ in range(10)]
    await until(lambda: target.sessions[0].verb == "DATA")

    pool.adapt(gone)
    let_go.set()

    outcomes = [(await task).outcome for task in tasks]
    taken = [outcome for outcome in outcomes if outcome != Abandoned()]
    assert all(outcome.code == 250 for outcome in taken)
    assert 1 <= len(taken) <= 4
    assert len(target.mails) == 1 + len(taken)
    await until(lambda: target.open == 0)


async def test_a_connection_being_opened_for_the_old_way_carries_nothing(server, pool, send, until):
    opened = asyncio.Event()

    async def wait(_) -> None:
        await opened.wait()

    target = await server(before_greeting=wait)
    task = asyncio.create_task(send(target))
    await until(lambda: target.open == 1)

    pool.adapt(gone)

    assert (await task).outcome == Abandoned()
    opened.set()
    await until(lambda: target.open == 0)
    assert target.mails == []


async def test_a_mail_that_meets_a_dead_connection_is_not_taken_the_old_way_again(server, pool, send, until):
    target = await server()
    await send(target)
    target.answers["MAIL"] = "421 4.3.2 closing"
    task = asyncio.create_task(send(target))
    await asyncio.sleep(0)
    assert pool.stats().sites[0].busy == 1

    pool.adapt(gone)

    assert (await task).outcome == Abandoned()
    assert [command.partition(" ")[0] for command in target.commands].count("MAIL") == 2
    assert len(target.sessions) == 1


async def test_rules_that_come_back_find_the_site_as_it_was(server, pool, send, until):
    target = await server()
    let_go = await hold(target)
    busy = asyncio.create_task(send(target))
    await until(lambda: target.open == 1)
    pool.adapt(gone)
    pool.adapt(lambda site: site.limits)
    let_go.set()

    assert (await send(target)).outcome.code == 250
    assert (await busy).outcome.code == 250


async def test_a_higher_limit_is_used_at_once_by_those_who_wait(server, pool, send, until):
    target = await server()
    let_go = await hold(target)
    tasks = [asyncio.create_task(send(target, limits=ONE)) for _ in range(6)]
    await until(lambda: target.open == 1)

    pool.adapt(lambda _: SiteLimits(connections=4))

    await until(lambda: target.open == 4)
    let_go.set()
    assert {(await task).outcome.code for task in tasks} == {250}
    assert target.peak == 4


async def test_a_lower_limit_is_reached_under_load_also_with_mails_behind(server, pool, send, until):
    target = await server()
    limits = SiteLimits(connections=8, messages_per_connection=10**6, behind=3)
    lower = replace(limits, connections=2)
    now = limits
    done = False

    async def keep_sending() -> int:
        sent = 0
        while not done:
            assert (await send(target, limits=now)).outcome.code == 250
            sent += 1
        return sent

    tasks = [asyncio.create_task(keep_sending()) for _ in range(40)]
    await until(lambda: target.open == 8)
    now = lower
    pool.adapt(lambda _: lower)
    await until(lambda: target.open == 2)
    sessions = len(target.sessions)
    await asyncio.sleep(0.1)
    done = True
    counts = [await task for task in tasks]

    assert sum(counts) == len(target.mails)
    assert target.open == 2
    # The two that stay are two of the eight: no connection is closed to be opened again.
    assert len(target.sessions) == sessions == 8


async def test_connections_at_rest_obey_new_limits(server, pool, send, until):
    target = await server()
    await asyncio.gather(*(send(target, limits=SiteLimits(connections=4)) for _ in range(12)))
    assert target.open == 4

    pool.adapt(lambda _: SiteLimits(connections=2))
    await until(lambda: target.open == 2)
    pool.adapt(lambda _: SiteLimits(connections=2, idle=0.1))
    await until(lambda: target.open == 0)

    await send(target)
    pool.adapt(lambda _: SiteLimits(messages_per_connection=1))
    await until(lambda: target.open == 0)
