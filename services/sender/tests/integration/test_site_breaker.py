"""A site whose hosts are all down is left alone as one, and one connection tries again (DESIGN §6)."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.shaping import Override, OverrideEnd
from mailwarren.contracts.topology import Topology
from mailwarren.sender.adapters.control_log import ShapingEntry
from mailwarren.sender.domain.breaker import Breaker
from mailwarren.sender.domain.in_force import InForce
from mailwarren.sender.shaping.roll import Roll
from mailwarren.sender.shaping.shaper import Shaper, SlowSite
from mailwarren.sender.shaping.shares import Shares
from mailwarren.sender.shaping.waiting import WaitingRoom
from mailwarren.sender.smtp import (
    Abandoned,
    ClientSettings,
    Envelope,
    Host,
    Pool,
    Reply,
    Shaping,
    Site,
    SiteLimits,
    SitePolicy,
    TlsContexts,
    Unreachable,
    UnreachableKind,
    prepare_data,
)
from mailwarren.sender.smtp.result import NoSession

TENANT = UUID(int=1)
MAIL = prepare_data(b"Subject: x\r\n\r\nx\r\n")


class Process:
    """A shaper with its pool, and what it wrote into the control log."""

    def __init__(self, site: Site, *, named: bool) -> None:
        self.site = site
        self.written: list[ShapingEntry] = []
        rows = {site.name: SitePolicy(site.limits)} if named else {}
        room = WaitingRoom(100, 10**6, 100)
        self.shares = Shares(
            topology=Topology(),
            in_force=InForce(),
            roll=Roll(UUID(int=2), frozenset()),
            shaping=lambda: Shaping(rows),
            direct=True,
            high=False,
            write=self.write,
            connection=lambda: None,
            held=room.count,
            changed=room.look_again,
            breaker=Breaker(first=0.5),
        )
        self.shaper = Shaper(self.shares, room, 1.0)
        self.pool = self.shares.pool = Pool(
            ClientSettings("sender.example", TlsContexts()), watch=self.shares, host_hold=0.01
        )

    async def write(self, entry: ShapingEntry) -> None:
        self.written.append(entry)

    async def send(self) -> object:
        self.shaper.check(self.site, TENANT, Lane.NORMAL, turn=False)
        result = await self.pool.send(self.site, Envelope("a@x.test", "b@y.test"), MAIL, lambda: True)
        return result.outcome


@pytest.fixture
async def dead() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
async def process(dead: int) -> AsyncIterator[Process]:
    hosts = tuple(Host(f"mx{n}.test", dead, "127.0.0.1", n) for n in range(2))
    process = Process(Site("down.test", hosts, limits=SiteLimits(breaker=6)), named=False)
    task = asyncio.create_task(process.shaper.run())
    yield process
    task.cancel()
    await process.pool.close(1.0)
    await process.shares.close()


async def serve(port: int) -> asyncio.Server:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 up\r\n")
        while line := await reader.readline():
            verb = line[:4].upper()
            if verb == b"DATA":
                writer.write(b"354 go\r\n")
                await reader.readuntil(b"\r\n.\r\n")
            writer.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 ok\r\n")
        writer.close()

    return await asyncio.start_server(talk, "127.0.0.1", port)


async def until_open(process: Process) -> None:
    async with asyncio.timeout(5):
        while True:
            try:
                process.shaper.check(process.site, TENANT, Lane.NORMAL, turn=False)
            except SlowSite:
                await asyncio.sleep(0.01)
            else:
                return


async def test_after_so_many_failures_the_site_is_left_alone_as_one_and_a_success_ends_it(
    process: Process, dead: int
) -> None:
    tries = 0
    while process.shares.share_of("down.test", process.site.limits).connections:
        await process.send()
        tries += 1
    assert 3 <= tries <= 6
    with pytest.raises(SlowSite):
        await process.send()
    began = time.monotonic()
    await until_open(process)
    assert time.monotonic() - began == pytest.approx(0.5, abs=0.3)

    await process.send()  # the one that tries, and fails: the span is doubled
    began = time.monotonic()
    await until_open(process)
    assert time.monotonic() - began == pytest.approx(1.0, abs=0.4)

    server = await serve(dead)
    assert process.shares.share_of("down.test", process.site.limits).connections == 1
    await asyncio.sleep(0.1)
    assert isinstance(await process.send(), Reply)
    assert process.shares.share_of("down.test", process.site.limits).connections == 10
    assert process.written == []  # it has no row: what others see of it is for them to find out
    await process.pool.close(1.0)
    server.close()
    assert await process.send() == Abandoned()


async def test_a_site_with_a_row_is_left_alone_by_all_senders(dead: int) -> None:
    host = Host("mx.test", dead, "127.0.0.1")
    process = Process(Site("named.test", (host,), limits=SiteLimits(breaker=2)), named=True)
    refused = NoSession(Unreachable(UnreachableKind.CONNECT, "refused", "mx.test"), "mx.test")
    for _ in range(2):
        process.shares.no_session(process.site, refused)
    await asyncio.sleep(0)
    (override,) = process.written
    assert isinstance(override, Override)
    assert (override.name, override.suspend, override.cause) == ("named.test", True, "breaker")
    await asyncio.sleep(0.55)
    process.shares.session("named.test")
    await asyncio.sleep(0)
    assert isinstance(process.written[-1], OverrideEnd)
    assert process.written[-1].id == override.id
    await process.shares.close()
