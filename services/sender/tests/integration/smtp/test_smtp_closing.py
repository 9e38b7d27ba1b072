"""Closing the pool: what is in flight is finished, what waits is turned away, what outlasts the grace is dropped."""

import asyncio
from collections import Counter

from mailwarren.sender.smtp import Abandoned, Reply, SiteLimits, Unreachable


async def test_close_finishes_what_is_in_flight_and_turns_the_rest_away(server, send, pool, until):
    async def slowly(session) -> None:
        await asyncio.sleep(0.2)

    target = await server(before_data=slowly)
    limits = SiteLimits(connections=3)
    tasks = [asyncio.create_task(send(target, limits=limits)) for _ in range(10)]
    await until(lambda: target.commands.count("DATA") == 3)

    await pool.close(2.0)
    results = await asyncio.gather(*tasks)

    assert Counter(type(result.outcome) for result in results) == {Reply: 3, Abandoned: 7}
    assert len(target.mails) == 3
    assert pool.stats().sites == ()
    assert (await send(target)).outcome == Abandoned()
    assert target.commands.count("QUIT") == 3


async def test_close_drops_what_outlasts_its_grace_and_says_which_had_their_dot(server, send, pool, until):
    target = await server(answers={"DOT": "hang", "RCPT": lambda s: "hang" if s.number == 2 else "250 ok"})
    dotted = asyncio.create_task(send(target))
    await until(lambda: target.commands[-1:] == ["DATA"])
    await asyncio.sleep(0.02)
    begun = asyncio.create_task(send(target))
    await until(lambda: len(target.sessions) == 2 and target.commands[-1].startswith("RCPT"))

    await pool.close(0.1)

    outcome = (await dotted).outcome
    assert isinstance(outcome, Unreachable)
    assert outcome.dot_sent
    assert (await begun).outcome == Abandoned()
    await until(lambda: target.open == 0)


async def test_close_ends_dials_that_hang(server, send, pool, until):
    target = await server(answers={"GREETING": "hang"})
    task = asyncio.create_task(send(target))
    await until(lambda: target.open == 1)

    await pool.close(0.1)

    assert (await task).outcome == Abandoned()
    await until(lambda: target.open == 0)


async def test_a_mail_whose_kept_connection_dies_while_the_pool_closes_is_not_dialled_for(server, send, pool, until):
    target = await server()
    await send(target)
    target.answers["MAIL"] = "hang"
    task = asyncio.create_task(send(target))
    await until(lambda: target.commands[-1].startswith("MAIL") and len(target.mails) == 1)
    closing = asyncio.create_task(pool.close(5.0))
    await asyncio.sleep(0.02)

    await target.stop()

    assert (await task).outcome == Abandoned()
    async with asyncio.timeout(1):
        await closing
    assert len(target.sessions) == 1
    assert pool.stats().retried_total == 0
