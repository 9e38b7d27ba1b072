"""Mails behind the one under way: one write for data and the next envelope, and no mail pays for another."""

import asyncio
import random
import re
from collections.abc import Callable
from typing import Any

import pytest

from mailwarren.contracts.reply import Reply
from mailwarren.sender.smtp import Abandoned, Envelope, Pool, SiteLimits, Unreachable, prepare_data

ONE = SiteLimits(connections=1, behind=3)


@pytest.fixture
def send_all(send: Callable[..., Any]) -> Callable[..., Any]:
    """Send the first alone, so that the connection is known, and then the others side by side."""

    async def send_all(to: Any, count: int, **options: Any) -> list[Any]:
        options = {"limits": ONE} | options
        first = await send(to, recipient="r0@rcpt.example", message=b"0", **options)
        rest = (send(to, recipient=f"r{n}@rcpt.example", message=b"%d" % n, **options) for n in range(1, count))
        return [first, *await asyncio.gather(*rest)]

    return send_all


def _number(recipient: str) -> int:
    return int(re.search(r"r(\d+)@", recipient)[1])


async def test_the_next_envelope_follows_the_data(server, send_all):
    target = await server()
    results = await send_all(target, 40)
    assert [result.outcome.code for result in results] == [250] * 40
    assert sorted(_number(mail.recipient) for mail in target.mails) == list(range(40))
    assert all(int(mail.data.split(b"\r\n")[0]) == _number(mail.recipient) for mail in target.mails)
    assert target.peak == 1
    # The first two went alone; nearly all others came in behind another mail, with a RSET of their own.
    assert target.commands.count("RSET") >= 30


async def test_a_refused_mail_is_the_only_one_refused(server, send_all):
    target = await server(answers={"DOT": lambda session: "550 5.7.1 no" if session.mails == 5 else "250 ok"})
    results = await send_all(target, 12)
    codes = [result.outcome.code for result in results]
    assert codes.count(550) == 1 and codes.count(250) == 11
    assert sorted(_number(mail.recipient) for mail in target.mails) == [n for n in range(12) if codes[n] == 250]


async def test_a_refused_recipient_is_the_only_one_refused(server, send_all):
    target = await server(answers={"RCPT": lambda session: "550 5.1.1 no" if "r4@" in session.argument else "250 ok"})
    results = await send_all(target, 12)
    assert [result.outcome.code for result in results] == [250] * 4 + [550] + [250] * 7
    assert sorted(_number(mail.recipient) for mail in target.mails) == [n for n in range(12) if n != 4]


@pytest.mark.parametrize("answer", ["drop", "421 4.3.0 bye"])
async def test_who_is_behind_a_lost_mail_goes_out_again_on_a_fresh_connection(server, send_all, answer):
    target = await server(answers={"DOT": lambda session: answer if session.mails == 5 else "250 ok"})
    results = await send_all(target, 12)
    lost = [
        n for n, result in enumerate(results) if not isinstance(result.outcome, Reply) or result.outcome.code != 250
    ]
    # The fifth mail of the first connection, and of the second.
    assert len(lost) == 2 and all(results[n].dot_at is not None for n in lost)
    assert sorted(_number(mail.recipient) for mail in target.mails) == [n for n in range(12) if n not in lost]


async def test_cancelling_a_mail_behind_another_leaves_the_other_alone(server, send, until):
    waiting = asyncio.Event()

    async def before_data(session: Any) -> None:
        if session.mails == 1:
            await waiting.wait()

    target = await server(before_data=before_data)
    await send(target, limits=ONE)
    first = asyncio.create_task(send(target, recipient="first@rcpt.example", limits=ONE))
    await until(lambda: target.commands.count("DATA") == 2)
    second = asyncio.create_task(send(target, recipient="second@rcpt.example", limits=ONE))
    third = asyncio.create_task(send(target, recipient="third@rcpt.example", limits=ONE))
    await asyncio.sleep(0.02)
    second.cancel()
    waiting.set()
    assert (await first).outcome.code == 250
    assert (await third).outcome.code == 250
    with pytest.raises(asyncio.CancelledError):
        await second
    assert [mail.recipient for mail in target.mails[1:]] == ["TO:<first@rcpt.example>", "TO:<third@rcpt.example>"]


async def test_the_gate_is_asked_for_each_mail_when_its_data_is_due(server, send, send_all):
    target = await server()
    asked: list[int] = []

    def gate(n: int) -> Callable[[], bool]:
        return lambda: asked.append(n) or n != 6

    await send(target, limits=ONE)
    results = await asyncio.gather(
        *(
            send(target, recipient=f"r{n}@rcpt.example", message=b"%d" % n, limits=ONE, may_send=gate(n))
            for n in range(12)
        )
    )
    assert isinstance(results[6].outcome, Abandoned)
    assert sorted(set(asked)) == list(range(12)) and asked.count(6) == 1
    assert sorted(_number(mail.recipient) for mail in target.mails[1:]) == [n for n in range(12) if n != 6]


async def test_a_slow_server_gets_one_mail_at_a_time(server, send_all):
    async def slow(_session: Any) -> None:
        await asyncio.sleep(0.3)

    target = await server(before_data=slow)
    results = await send_all(target, 4)
    assert [result.outcome.code for result in results] == [250] * 4
    assert "RSET" not in target.commands


async def test_without_pipelining_there_is_nothing_behind(server, send_all):
    target = await server(extensions=("8BITMIME",))
    results = await send_all(target, 8)
    assert [result.outcome.code for result in results] == [250] * 8
    assert not target.overlapped and "RSET" not in target.commands


async def test_the_limit_of_messages_holds(server, send_all):
    target = await server()
    results = await send_all(target, 60, limits=SiteLimits(connections=2, messages_per_connection=7, behind=3))
    assert [result.outcome.code for result in results] == [250] * 60
    assert max(session.mails for session in target.sessions) == 7


async def test_closing_abandons_what_is_behind(server, send, make_pool, until):
    target = await server(answers={"DOT": lambda session: "250 ok" if session.mails == 1 else "hang"})
    pool = make_pool()
    await send(target, limits=ONE, through=pool)
    tasks = [asyncio.create_task(send(target, limits=ONE, through=pool)) for _ in range(3)]
    await until(lambda: target.sessions[0].mails == 2)
    await asyncio.sleep(0.02)
    await pool.close(0.05)
    first, *others = [task.result() for task in tasks]
    assert isinstance(first.outcome, Unreachable) and first.outcome.dot_sent
    assert all(isinstance(one.outcome, Abandoned) for one in others)


@pytest.mark.parametrize("seed", range(12))
async def test_what_is_said_of_each_mail_is_true(server, make_pool, seed):
    """Under random refusals, losses, delays and cancels: every mail has its own end, and the server agrees."""
    chance = random.Random(seed)
    trouble = [
        "drop", "421 4.3.2 later", "450 4.2.1 busy", "550 5.1.1 no", "503 5.5.1 sequence", "452 4.5.3 too many",
    ]  # fmt: skip

    def perhaps(usual: str) -> Callable[[Any], str]:
        return lambda _session: chance.choice(trouble) if chance.random() < 0.04 else usual

    async def delay(_session: Any) -> None:
        await asyncio.sleep(chance.choice([0, 0, 0.001, 0.01]))

    answers = {
        "MAIL": perhaps("250 ok"),
        "RCPT": perhaps("250 ok"),
        "DATA": perhaps("354 go"),
        "DOT": perhaps("250 ok"),
    }
    target = await server(answers=answers, before_data=delay)
    pool: Pool = make_pool(host_hold=0.01, longest_hold=0.02)
    site = target.site(limits=SiteLimits(connections=3, messages_per_connection=30, behind=3))

    async def one(n: int) -> Any:
        async def make() -> bytes:
            await asyncio.sleep(chance.choice([0, 0, 0.002]))
            return prepare_data(b"%d" % n)

        return await pool.send(site, Envelope("a@sender.example", f"r{n}@rcpt.example"), make, lambda: True)

    tasks = [asyncio.create_task(one(n)) for n in range(200)]
    for task in chance.sample(tasks, 5):
        asyncio.get_running_loop().call_later(chance.random() * 0.1, task.cancel)
    async with asyncio.timeout(20):
        results = await asyncio.gather(*tasks, return_exceptions=True)

    taken: dict[int, int] = {}
    for mail in target.mails:
        if not mail.recipient:
            assert mail.data == b".\r\n"  # this server says 354 to a DATA without a recipient
            continue
        assert int(mail.data.split(b"\r\n")[0]) == _number(mail.recipient), "one mail's data under another's envelope"
        taken[_number(mail.recipient)] = taken.get(_number(mail.recipient), 0) + 1
    assert max(taken.values()) == 1
    for n, result in enumerate(results):
        if isinstance(result, asyncio.CancelledError):
            continue
        outcome = result.outcome
        if isinstance(outcome, Reply):
            assert (outcome.code == 250) == (n in taken)
        else:
            assert isinstance(outcome, Unreachable)
            assert outcome.dot_sent or n not in taken
    assert len(taken) > 100
