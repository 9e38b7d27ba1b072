"""What a mail server may do wrong, at every stage: the mail is not lost, and no connection is stuck.

Beside what ``test_smtp_transactions.py`` has: no SMTP at all, a reply that is out of place, silence, a hang-up.
"""

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from mailwarren.contracts.reply import Command
from mailwarren.sender.smtp import (
    Envelope,
    Host,
    Pool,
    Site,
    SiteLimits,
    SiteTimeouts,
    Timeouts,
    Unreachable,
    UnreachableKind,
    prepare_data,
)

MAIL = prepare_data(b"Subject: x\r\n\r\nx\r\n")
STAGES = {
    Command.CONNECT: b"",
    Command.EHLO: b"EHLO",
    Command.MAIL: b"MAIL",
    Command.RCPT: b"RCPT",
    Command.DATA: b"DATA",
    Command.DOT: b".",
}
Misbehave = Callable[[asyncio.StreamWriter], Awaitable[None]]
MEGABYTE = 2**20


async def long_line(writer: asyncio.StreamWriter) -> None:
    writer.write(b"250 " + b"x" * MEGABYTE + b"\r\n")
    await writer.drain()


async def long_line_without_end(writer: asyncio.StreamWriter) -> None:
    writer.write(b"250-" + b"x" * MEGABYTE)
    await writer.drain()


async def reply_without_end(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"250-more\r\n" * 100)
        await writer.drain()


async def reply_that_drips(writer: asyncio.StreamWriter) -> None:
    """Never silent for long, and never at its end."""
    while True:
        writer.write(b"250-more\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)


async def octets_that_drip(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"2")
        await writer.drain()
        await asyncio.sleep(0.05)


async def noise(writer: asyncio.StreamWriter) -> None:
    writer.write(bytes(range(256)) * 20 + b"\r\n")
    await writer.drain()


async def reset(writer: asyncio.StreamWriter) -> None:
    """RST, and not FIN."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.fixture
async def serve(nothing_leaks: None) -> AsyncIterator[Callable[[Command, Misbehave], Awaitable[int]]]:
    """A server that does as it should until one stage: ``await serve(Command.RCPT, reset)`` gives its port."""
    running: list[asyncio.Server] = []
    talks: set[asyncio.Task[None]] = set()

    async def start(stage: Command, misbehave: Misbehave) -> int:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            talks.add(task)
            try:
                if stage is Command.CONNECT:
                    await misbehave(writer)
                writer.write(b"220 there\r\n")
                while line := await reader.readline():
                    verb = line.split()[0].upper() if line.split() else b""
                    if verb == STAGES[stage]:
                        await misbehave(writer)
                    elif verb == b"EHLO":
                        writer.write(b"250-there\r\n250 PIPELINING\r\n")
                    elif verb == b"DATA":
                        writer.write(b"354 go\r\n")
                    elif verb in (b"MAIL", b"RCPT", b"."):
                        writer.write(b"250 ok\r\n")
            except OSError:
                pass
            finally:
                writer.transport.abort()
                talks.discard(task)

        running.append(await asyncio.start_server(talk, "127.0.0.1", 0))
        port: int = running[-1].sockets[0].getsockname()[1]
        return port

    yield start
    for server in running:
        server.close()
    for task in list(talks):
        task.cancel()
    await asyncio.gather(*talks, return_exceptions=True)


def site(port: int, limits: SiteLimits | None = None) -> Site:
    return Site("bad.test", (Host("localhost", port, "127.0.0.1"),), limits=limits or SiteLimits())


PATIENCE = Timeouts(connect=1.0, greeting=0.4, command=0.4, final_dot=0.4, quit=0.2)
KINDS = {
    long_line: {UnreachableKind.PROTOCOL},
    long_line_without_end: {UnreachableKind.PROTOCOL},
    reply_without_end: {UnreachableKind.PROTOCOL},
    reply_that_drips: {UnreachableKind.TIMEOUT},
    octets_that_drip: {UnreachableKind.TIMEOUT},
    noise: {UnreachableKind.PROTOCOL},
    reset: {UnreachableKind.LOST},
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("misbehave", KINDS, ids=lambda one: one.__name__)
async def test_it_ends_soon_as_a_value_and_leaves_nothing_open(serve, make_pool, until, stage, misbehave) -> None:
    port = await serve(stage, misbehave)
    pool: Pool = make_pool(timeouts=PATIENCE)
    began = time.monotonic()
    result = await pool.send(site(port), Envelope("a@x.test", "b@y.test"), MAIL, lambda: True)
    assert time.monotonic() - began < 3
    assert isinstance(result.outcome, Unreachable)
    assert result.outcome.kind in KINDS[misbehave]
    assert result.outcome.command is stage
    assert result.outcome.dot_sent == (stage is Command.DOT)
    assert len(result.outcome.text) < 200
    await until(lambda: pool.stats().sites == ())


@pytest.mark.parametrize(
    ("stage", "name"),
    [
        (Command.CONNECT, "ehlo"),
        (Command.EHLO, "ehlo"),
        (Command.MAIL, "mail"),
        (Command.RCPT, "rcpt"),
        (Command.DATA, "data"),
        (Command.DOT, "final_dot"),
    ],
)
async def test_a_sites_own_timeout_counts_at_its_stage(serve, make_pool, stage: Command, name: str) -> None:
    async def silence(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    limits = SiteLimits(timeouts=SiteTimeouts(**{name: 0.2}))
    port = await serve(stage, silence)
    pool = make_pool(timeouts=Timeouts(greeting=20.0, command=20.0, final_dot=20.0, quit=0.2))
    began = time.monotonic()
    result = await pool.send(site(port, limits), Envelope("a@x.test", "b@y.test"), MAIL, lambda: True)
    assert 0.2 <= time.monotonic() - began < 3
    assert isinstance(result.outcome, Unreachable)
    assert (result.outcome.kind, result.outcome.command) == (UnreachableKind.TIMEOUT, stage)


def test_a_row_only_shortens_the_wait_for_the_final_dot() -> None:
    base = Timeouts(final_dot=300.0)
    assert SiteTimeouts(final_dot=600.0).over(base).final_dot == 300.0
    assert SiteTimeouts(final_dot=60.0).over(base).final_dot == 60.0
    assert SiteTimeouts().over(base) is base
    assert SiteTimeouts(rcpt=7.0).over(base).stages == (60.0, 60.0, 7.0, 60.0, 60.0, 300.0)
