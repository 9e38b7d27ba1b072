"""What becomes of one mail, for every way a server can treat it."""

import asyncio
import time

import pytest

from mailwarren.sender.smtp import (
    Command,
    Refused,
    Reply,
    Timeouts,
    Unreachable,
    UnreachableKind,
)

NO_EXTENSIONS = ()
PIPELINING = ("PIPELINING",)
BOTH = pytest.mark.parametrize("extensions", [PIPELINING, NO_EXTENSIONS], ids=["pipelined", "sequential"])


async def test_a_mail_arrives_dot_stuffed_with_its_envelope(server, send):
    target = await server()
    before = time.time()

    result = await send(target)

    assert result.outcome == Reply(250, "queued", "2.0.0", Command.DOT)
    assert result.host == f"localhost[127.0.0.1]:{target.port}"
    assert result.tls is None
    assert before <= result.dot_at <= result.replied_at <= time.time()
    assert 0 < result.waited + result.duration < 2
    (mail,) = target.mails
    assert mail.sender.startswith("FROM:<a@sender.example> SIZE=")
    assert mail.recipient == "TO:<b@rcpt.example>"
    assert mail.data == b"Subject: hello\r\n\r\nHow are you?\r\n..hidden dot\r\n.\r\n"


async def test_the_envelope_is_one_group_where_pipelining_is_offered(server, send):
    target = await server(extensions=PIPELINING)

    assert (await send(target)).outcome.code == 250
    assert target.overlapped


async def test_commands_wait_for_their_replies_where_pipelining_is_not_offered(server, send):
    target = await server(extensions=NO_EXTENSIONS)

    for _ in range(3):
        assert (await send(target)).outcome.code == 250
    assert not target.overlapped
    assert len(target.mails) == 3


async def test_a_server_that_knows_only_helo_gets_mail(server, send):
    target = await server(answers={"EHLO": "502 5.5.1 no such command"})

    assert (await send(target)).outcome.code == 250
    assert target.commands[:3] == ["EHLO sender.example", "HELO sender.example", "MAIL FROM:<a@sender.example>"]


@BOTH
@pytest.mark.parametrize("code", [450, 550])
@pytest.mark.parametrize(
    ("verb", "command"), [("MAIL", Command.MAIL), ("RCPT", Command.RCPT), ("DATA", Command.DATA), ("DOT", Command.DOT)]
)
async def test_a_refusal_is_a_value_and_the_connection_goes_on(server, send, extensions, verb, command, code):
    target = await server(extensions=extensions, answers={verb: f"{code} {code // 100}.7.1 not you"})

    first = await send(target)
    target.answers.clear()
    second = await send(target)

    assert first.outcome == Reply(code, "not you", f"{code // 100}.7.1", command)
    assert (first.dot_at is not None) == (verb == "DOT")
    assert first.replied_at is not None
    assert second.outcome.code == 250
    assert len(target.sessions) == 1
    assert len(target.mails) == 1


async def test_data_taken_after_a_refused_recipient_gets_a_lone_dot(server, send):
    target = await server(
        extensions=PIPELINING, answers={"RCPT": "550 5.1.1 unknown", "DATA": "354 go", "DOT": "554 5.5.1 no recipients"}
    )

    first = await send(target)
    target.answers.clear()
    second = await send(target)

    assert first.outcome == Reply(550, "unknown", "5.1.1", Command.RCPT)
    assert first.dot_at is None
    assert second.outcome.code == 250
    assert "RSET" in target.commands
    assert [mail.data for mail in target.mails] == [b"Subject: hello\r\n\r\nHow are you?\r\n..hidden dot\r\n.\r\n"]


async def test_data_taken_with_a_refused_sender_and_a_taken_recipient_is_never_dotted(server, send, until):
    target = await server(
        extensions=PIPELINING, answers={"MAIL": "451 4.1.8 try later", "RCPT": "250 ok", "DATA": "354 go"}
    )

    result = await send(target)

    assert result.outcome == Reply(451, "try later", "4.1.8", Command.MAIL)
    await until(lambda: target.open == 0)
    assert target.mails == []
    assert target.interrupted == 1


@BOTH
@pytest.mark.parametrize(
    ("verb", "command"),
    [
        ("GREETING", Command.CONNECT),
        ("EHLO", Command.EHLO),
        ("MAIL", Command.MAIL),
        ("RCPT", Command.RCPT),
        ("DATA", Command.DATA),
        ("DOT", Command.DOT),
    ],
)
async def test_421_decides_at_every_stage_and_ends_the_connection(server, send, extensions, verb, command, until):
    target = await server(extensions=extensions, answers={verb: "421 4.3.2 going down"})

    result = await send(target)

    assert result.outcome == Reply(421, "going down", "4.3.2", command)
    await until(lambda: target.open == 0)


@BOTH
@pytest.mark.parametrize(
    ("verb", "command"),
    [
        ("GREETING", Command.CONNECT),
        ("EHLO", Command.EHLO),
        ("MAIL", Command.MAIL),
        ("RCPT", Command.RCPT),
        ("DATA", Command.DATA),
        ("DOT", Command.DOT),
    ],
)
async def test_a_server_that_hangs_up_is_lost_and_says_whether_the_dot_was_out(server, send, extensions, verb, command):
    target = await server(extensions=extensions, answers={verb: "drop"})

    result = await send(target)

    assert isinstance(result.outcome, Unreachable)
    assert result.outcome.kind is UnreachableKind.LOST
    assert result.outcome.command is command
    assert result.outcome.dot_sent == (verb == "DOT")
    assert (result.dot_at is not None) == (verb == "DOT")
    assert result.replied_at is None
    assert len(target.sessions) == 1


@BOTH
@pytest.mark.parametrize("verb", ["EHLO", "MAIL", "RCPT", "DATA"])
async def test_a_server_that_falls_silent_times_out_at_its_stage(server, send, make_pool, extensions, verb, until):
    target = await server(extensions=extensions, answers={verb: "hang"})

    result = await send(target, through=make_pool(timeouts=Timeouts(command=0.2, quit=0.2)))

    assert isinstance(result.outcome, Unreachable)
    assert (result.outcome.kind, result.outcome.command) == (UnreachableKind.TIMEOUT, verb.lower())
    assert not result.outcome.dot_sent
    assert 0.2 <= result.waited + result.duration < 2
    await until(lambda: target.open == 0)


async def test_a_server_that_never_greets_times_out(server, send, make_pool):
    target = await server(answers={"GREETING": "hang"})

    result = await send(target, through=make_pool(timeouts=Timeouts(greeting=0.2)))

    assert isinstance(result.outcome, Unreachable)
    assert (result.outcome.kind, result.outcome.command) == (UnreachableKind.TIMEOUT, Command.CONNECT)


async def test_a_server_that_never_answers_the_dot_times_out_with_the_mail_in_doubt(server, send, make_pool):
    target = await server(answers={"DOT": "hang"})

    result = await send(target, through=make_pool(timeouts=Timeouts(final_dot=0.2)))

    assert isinstance(result.outcome, Unreachable)
    assert (result.outcome.kind, result.outcome.command) == (UnreachableKind.TIMEOUT, Command.DOT)
    assert result.outcome.dot_sent
    assert result.dot_at is not None


async def test_a_slow_final_dot_has_its_own_timeout(server, send, make_pool):
    async def later(session):
        await asyncio.sleep(0.5)

    # The 354 is out and the data arrives; the reply to it comes later than a command's would.
    target = await server(before_data=later)

    result = await send(target, through=make_pool(timeouts=Timeouts(command=0.3, final_dot=5.0)))

    assert result.outcome.code == 250


@pytest.mark.parametrize(
    "nonsense",
    ["HTTP/1.1 400 Bad Request", "250-first\n550 second", "999 what", "\n".join(["250-more"] * 5000), "2" * 5000],
    ids=["http", "codes differ", "no code", "endless", "long line"],
)
@pytest.mark.parametrize("verb", ["GREETING", "EHLO", "MAIL", "DOT"])
async def test_what_is_not_smtp_ends_the_connection(server, send, verb, nonsense, until):
    target = await server(answers={verb: nonsense})

    result = await send(target)

    assert isinstance(result.outcome, Unreachable)
    assert result.outcome.kind is UnreachableKind.PROTOCOL
    assert result.outcome.dot_sent == (verb == "DOT")
    await until(lambda: target.open == 0)


@BOTH
@pytest.mark.parametrize(
    ("verb", "answer"), [("MAIL", "354 what"), ("RCPT", "354 what"), ("DATA", "250 what"), ("DOT", "354 what")]
)
async def test_a_reply_that_makes_no_sense_at_its_stage_is_not_taken_for_an_answer(
    server, send, extensions, verb, answer
):
    target = await server(extensions=extensions, answers={verb: answer})

    result = await send(target)

    assert isinstance(result.outcome, Unreachable)
    assert result.outcome.kind is UnreachableKind.PROTOCOL
    assert target.mails == []


async def test_smtputf8_is_used_when_offered_and_needed(server, send):
    target = await server()

    assert (await send(target, recipient="jürgen@rcpt.example")).outcome.code == 250
    assert (await send(target, recipient="juergen@bücher.example")).outcome.code == 250
    assert target.mails[0].sender.endswith(" SMTPUTF8")
    assert target.mails[0].recipient == "TO:<jürgen@rcpt.example>"
    assert "SMTPUTF8" not in target.mails[1].sender
    assert target.mails[1].recipient == "TO:<juergen@xn--bcher-kva.example>"


async def test_an_address_that_needs_smtputf8_is_refused_by_us_where_it_is_missing(server, send):
    target = await server(extensions=("PIPELINING",))

    result = await send(target, recipient="jürgen@rcpt.example")

    assert isinstance(result.outcome, Refused)
    assert result.outcome.enhanced == "5.6.7"
    assert not any(command.startswith("MAIL") for command in target.commands)
    assert (await send(target)).outcome.code == 250
    assert len(target.sessions) == 1


async def test_a_message_over_the_servers_size_is_refused_by_us(server, send):
    target = await server(extensions=("SIZE 100",))

    result = await send(target, message=b"x" * 200)

    assert isinstance(result.outcome, Refused)
    assert result.outcome.enhanced == "5.3.4"
    assert (await send(target, message=b"x" * 50)).outcome.code == 250
    assert target.mails[0].sender == "FROM:<a@sender.example> SIZE=52"


async def test_eight_bit_data_is_announced_where_that_is_offered(server, send):
    target = await server(extensions=("8BITMIME",))

    await send(target, message="grüße\n".encode())
    await send(target)

    assert target.mails[0].sender == "FROM:<a@sender.example> BODY=8BITMIME"
    assert target.mails[0].data == "grüße\r\n.\r\n".encode()
    assert target.mails[1].sender == "FROM:<a@sender.example>"


async def test_a_bounce_has_the_null_path(server, send):
    target = await server(extensions=())

    assert (await send(target, sender="")).outcome.code == 250
    assert target.mails[0].sender == "FROM:<>"


async def test_nobody_listening_is_a_connect_failure(server, send):
    target = await server()
    await target.stop()

    result = await send(target)

    assert isinstance(result.outcome, Unreachable)
    assert result.outcome.kind is UnreachableKind.CONNECT
    assert result.outcome.command is None
    assert result.host == f"localhost[127.0.0.1]:{target.port}"
