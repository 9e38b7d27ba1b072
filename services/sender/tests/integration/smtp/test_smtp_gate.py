"""The caller's gate and the caller's cancellation: after either, no data has been written."""

import asyncio

import pytest

from mailwarren.sender.smtp import Abandoned, SiteLimits

PIPELINING = ("PIPELINING",)
BOTH = pytest.mark.parametrize("extensions", [PIPELINING, ()], ids=["pipelined", "sequential"])


@BOTH
async def test_a_closed_gate_writes_no_data_and_no_dot(server, send, extensions, until):
    target = await server(extensions=extensions)

    result = await send(target, may_send=lambda: False)

    assert result.outcome == Abandoned()
    assert result.dot_at is None
    await until(lambda: target.open == 0)
    assert target.mails == []
    assert target.interrupted == 1
    assert (await send(target)).outcome.code == 250


async def test_the_gate_is_asked_once_and_only_when_the_server_waits_for_data(server, send):
    target = await server(answers={"RCPT": "550 no"})
    asked = []

    def gate() -> bool:
        asked.append([command.partition(" ")[0] for command in target.commands])
        return True

    await send(target, may_send=gate)
    assert asked == []
    target.answers.clear()
    await send(target, may_send=gate)
    assert len(asked) == 1
    assert asked[0][-1] == "DATA"


async def test_what_the_gate_raises_reaches_the_caller_and_nothing_was_sent(server, send, until):
    target = await server()

    def gate() -> bool:
        raise LookupError("epoch")

    with pytest.raises(LookupError, match="epoch"):
        await send(target, may_send=gate)
    await until(lambda: target.open == 0)
    assert target.mails == []


async def test_cancelling_a_send_drops_the_connection_and_frees_its_slot(server, send, until):
    target = await server(answers={"DOT": "hang"})
    task = asyncio.create_task(send(target, limits=SiteLimits(connections=1)))
    await until(lambda: any(command == "DATA" for command in target.commands))
    await asyncio.sleep(0.05)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    await until(lambda: target.open == 0)
    target.answers.clear()
    assert (await send(target, limits=SiteLimits(connections=1))).outcome.code == 250


async def test_a_mail_cancelled_while_the_server_says_go_ahead_is_not_sent(server, send, until):
    target = await server(extensions=PIPELINING, answers={"MAIL": "250 ok"})
    tasks: list[asyncio.Task[object]] = []

    def answer(session) -> str:
        tasks[0].cancel()
        return "354 go"

    target.answers["DATA"] = answer
    tasks.append(asyncio.create_task(send(target)))
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    await until(lambda: target.open == 0)
    assert target.mails == []
