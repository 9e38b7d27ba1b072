"""Messages larger than what the transport takes at once."""

import asyncio

from mailwarren.sender.smtp import Command, Reply, Timeouts, Unreachable, UnreachableKind

LARGE = (b"y" * 70 + b"\r\n") * 250_000  # 18 MB, more than the kernel's buffers between two sockets take
PIPELINING = ("PIPELINING",)


async def test_a_server_that_hangs_up_in_the_middle_of_a_large_message_has_not_got_it(server, send):
    async def hang_up(session):
        raise ConnectionError

    target = await server(extensions=PIPELINING, before_data=hang_up)

    result = await send(target, message=LARGE)

    assert isinstance(result.outcome, Unreachable)
    assert result.outcome.kind is UnreachableKind.LOST
    assert not result.outcome.dot_sent
    assert result.dot_at is None


async def test_a_server_that_reads_nothing_of_a_large_message_times_out_before_the_dot(server, send, make_pool):
    async def stall(session):
        await asyncio.sleep(3600)

    target = await server(before_data=stall, extensions=PIPELINING)

    result = await send(target, message=LARGE, through=make_pool(timeouts=Timeouts(data_block=0.2)))

    assert isinstance(result.outcome, Unreachable)
    assert result.outcome.kind is UnreachableKind.TIMEOUT
    assert not result.outcome.dot_sent


async def test_a_large_message_arrives_whole(server, send):
    target = await server(extensions=PIPELINING)
    message = b"".join(b"%070d\r\n" % n for n in range(30_000))

    assert (await send(target, message=message)).outcome.code == 250
    assert target.mails[0].data == message + b".\r\n"


async def test_a_refusal_in_the_middle_of_a_large_message_counts(server, send, until):
    target = await server(extensions=PIPELINING, answers={"DATA": "354 go\n552 5.3.4 too big"})

    result = await send(target, message=LARGE)

    assert result.outcome == Reply(552, "too big", "5.3.4", Command.DOT)
    assert result.dot_at is None
    await until(lambda: target.open == 0)
