"""A pool within its share of a site's limits: no connection without one, mails by the clock, and what a change does."""

import asyncio
import time

from mailwarren.sender.smtp import Abandoned, Reply, Share, Site, SiteLimits, Watch


class Shares(Watch):
    """What the test says."""

    def __init__(self, share: Share) -> None:
        self.share = share
        self.heard: list[str] = []

    def share_of(self, name: str, limits: SiteLimits) -> Share:
        return self.share

    def freed(self, name: str) -> None:
        self.heard.append("freed")

    def session(self, name: str) -> None:
        self.heard.append("session")

    def no_session(self, site: Site, failure: object) -> None:
        self.heard.append("no session")


async def test_a_share_of_nothing_turns_mail_away_and_ends_what_rests(server, make_pool, send, until):
    there, shares = await server(), Shares(Share(1))
    pool = make_pool(watch=shares)
    assert isinstance((await send(there, through=pool)).outcome, Reply)
    shares.share = Share(0)
    pool.reshare("nobody")
    pool.reshare(there.site().name)
    await until(lambda: pool.stats().sites == ())
    assert (await send(there, through=pool)).outcome == Abandoned()
    assert shares.heard == ["session", "freed"]


async def test_who_waits_when_the_share_is_lost_is_turned_away_and_the_mail_under_way_ends_well(
    server, make_pool, send, until
):
    gate = asyncio.Event()

    async def wait(_: object) -> None:
        await gate.wait()

    there, shares = await server(before_data=wait), Shares(Share(1))
    pool = make_pool(watch=shares)
    tasks = [asyncio.create_task(send(there, through=pool)) for _ in range(3)]
    name = there.site().name
    await until(lambda: (queue := pool.at(name)) is not None and queue.begun == 1 and queue.waiting == 2)
    shares.share = Share(0)
    pool.reshare(name)
    assert [(await task).outcome for task in tasks[1:]] == [Abandoned(), Abandoned()]
    gate.set()
    assert isinstance((await tasks[0]).outcome, Reply)
    await until(lambda: pool.stats().sites == ())


async def test_a_rate_holds_over_all_connections_and_opens_no_more_than_it_needs(server, make_pool, send):
    there = await server()
    pool = make_pool(watch=Shares(Share(5, rate=50.0)))
    began = time.monotonic()
    results = await asyncio.gather(*(send(there, through=pool) for _ in range(15)))
    took = time.monotonic() - began
    assert all(isinstance(result.outcome, Reply) for result in results)
    assert 15 / 50 - 0.01 <= took <= 15 / 50 + 2
    assert pool.stats().opened_total <= 2


async def test_a_rate_that_ends_frees_those_who_wait(server, make_pool, send, until):
    there, shares = await server(), Shares(Share(2, rate=0.01))
    pool = make_pool(watch=shares)
    tasks = [asyncio.create_task(send(there, through=pool)) for _ in range(5)]
    name = there.site().name
    await until(lambda: (queue := pool.at(name)) is not None and queue.stats().idle > 0)
    assert not any(task.done() for task in tasks)
    shares.share = Share(2)
    pool.reshare(name)
    async with asyncio.timeout(2):
        await asyncio.gather(*tasks)


async def test_connections_are_begun_by_their_own_rate(server, make_pool, send):
    there = await server()
    pool = make_pool(watch=Shares(Share(5, connection_rate=10.0)))
    began = time.monotonic()
    await asyncio.gather(*(send(there, through=pool, limits=SiteLimits(5, 1)) for _ in range(4)))
    assert time.monotonic() - began >= 4 / 10 - 0.01


async def test_failures_are_told_also_those_that_were_known_beforehand(make_pool, send, server):
    there, shares = await server(), Shares(Share(5))
    await there.stop()
    pool = make_pool(watch=shares)
    for _ in range(3):
        assert not isinstance((await send(there, through=pool)).outcome, Reply)
    assert [one for one in shares.heard if one != "freed"] == ["no session"] * 3
