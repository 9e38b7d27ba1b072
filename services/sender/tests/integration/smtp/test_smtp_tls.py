"""STARTTLS and implicit TLS, in every mode, against servers that do it well, badly and not at all."""

import asyncio

import pytest

from mailwarren.sender.smtp import Command, Host, Reply, TlsMode, Unreachable, UnreachableKind

NOT_OFFERED = ("PIPELINING",)


@pytest.mark.parametrize("mode", [TlsMode.OPPORTUNISTIC, TlsMode.REQUIRED])
async def test_starttls_takes_any_certificate_where_none_is_checked(server, send, authority, mode):
    target = await server(context=authority.context("someone.else.example"))

    result = await send(target, tls=mode)

    assert result.outcome.code == 250
    assert result.tls.startswith("TLSv1.3 TLS_")
    assert target.mails[0].tls
    assert target.commands[:3] == ["EHLO sender.example", "STARTTLS", "EHLO sender.example"]


async def test_verify_wants_a_certificate_for_the_hosts_name(server, send, make_pool, authority):
    target = await server(context=authority.context("localhost"))

    result = await send(target, tls=TlsMode.VERIFY, through=make_pool(ca_file=authority.ca_file))

    assert result.outcome.code == 250
    assert target.mails[0].tls


async def test_verify_refuses_another_hosts_certificate(server, send, make_pool, authority):
    target = await server(context=authority.context("someone.else.example"))

    result = await send(target, tls=TlsMode.VERIFY, through=make_pool(ca_file=authority.ca_file))

    assert isinstance(result.outcome, Unreachable)
    assert result.outcome.kind is UnreachableKind.TLS
    assert result.outcome.command is Command.STARTTLS
    assert "localhost" in result.outcome.text
    assert target.mails == []


async def test_verify_refuses_an_unknown_authority(server, send, authority):
    target = await server(context=authority.context("localhost"))

    result = await send(target, tls=TlsMode.VERIFY)

    assert isinstance(result.outcome, Unreachable)
    assert result.outcome.kind is UnreachableKind.TLS
    assert "certificate" in result.outcome.text
    assert target.mails == []


async def test_off_ignores_the_offer(server, send, authority):
    target = await server(context=authority.context("localhost"))

    assert (await send(target, tls=TlsMode.OFF)).tls is None
    assert not target.mails[0].tls


@pytest.mark.parametrize("mode", [TlsMode.REQUIRED, TlsMode.VERIFY])
async def test_required_tls_that_is_not_offered_sends_nothing(server, send, mode):
    target = await server(extensions=NOT_OFFERED)

    result = await send(target, tls=mode)

    assert isinstance(result.outcome, Unreachable)
    assert result.outcome.kind is UnreachableKind.TLS
    assert not any(command.startswith("MAIL") for command in target.commands)


async def test_required_tls_of_a_helo_only_server_sends_nothing(server, send):
    target = await server(answers={"EHLO": "500 5.5.1 what?"})

    result = await send(target, tls=TlsMode.REQUIRED)

    assert isinstance(result.outcome, Unreachable)
    assert result.outcome.kind is UnreachableKind.TLS


async def test_opportunistic_goes_on_in_plain_text_when_starttls_is_refused(server, send, authority):
    target = await server(context=authority.context("localhost"), answers={"STARTTLS": "454 4.7.0 not now"})

    result = await send(target, tls=TlsMode.OPPORTUNISTIC)

    assert result.outcome.code == 250
    assert not target.mails[0].tls
    assert len(target.sessions) == 1


async def test_required_takes_a_refused_starttls_as_the_answer(server, send, authority):
    target = await server(context=authority.context("localhost"), answers={"STARTTLS": "454 4.7.0 not now"})

    result = await send(target, tls=TlsMode.REQUIRED)

    assert result.outcome == Reply(454, "not now", "4.7.0", Command.STARTTLS)


class _Liar:
    """Offers STARTTLS, answers it with ``reply`` and goes on in plain text, or closes."""

    def __init__(self, reply: bytes, *, close: bool) -> None:
        self.reply, self.close = reply, close
        self.heard: list[bytes] = []
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.write(b"220 liar\r\n")
        in_data = False
        while line := await reader.readline():
            self.heard.append(line.strip())
            if in_data:
                in_data = line != b".\r\n"
                if not in_data:
                    writer.write(b"250 taken\r\n")
            elif line.startswith(b"EHLO"):
                writer.write(b"250-liar\r\n250 STARTTLS\r\n")
            elif line.startswith(b"STARTTLS"):
                writer.write(self.reply)
                if self.close:
                    break
            elif line.startswith(b"DATA"):
                in_data = True
                writer.write(b"354 go\r\n")
            else:
                writer.write(b"250 ok\r\n")
        writer.close()


@pytest.fixture
async def liar(nothing_leaks):
    servers = []

    async def start(reply: bytes, *, close: bool = False):
        one = _Liar(reply, close=close)
        servers.append(await asyncio.start_server(one.serve, "127.0.0.1", 0))
        return one, (Host("localhost", servers[-1].sockets[0].getsockname()[1], "127.0.0.1"),)

    yield start
    for each in servers:
        each.close()


@pytest.mark.parametrize("injected", [b"220 go\r\n250 injected\r\n", b"220 go\r\n250-inj", b"220 go\r\n2"])
@pytest.mark.parametrize("mode", [TlsMode.OPPORTUNISTIC, TlsMode.REQUIRED])
async def test_plain_text_behind_the_reply_to_starttls_ends_the_session(server, send, liar, injected, mode):
    target, hosts = await liar(injected)

    result = await send(await server(), tls=mode, hosts=hosts)

    assert isinstance(result.outcome, Unreachable)
    assert result.outcome.kind is UnreachableKind.PROTOCOL
    assert target.connections == 1
    assert not any(line.startswith(b"MAIL") for line in target.heard)


@pytest.mark.parametrize("close", [True, False], ids=["hangs up", "talks nonsense"])
async def test_a_failing_handshake_falls_back_to_plain_text_only_where_tls_is_opportunistic(
    server, send, liar, make_pool, close
):
    # Not hanging up, the server takes the ClientHello for commands and answers it in plain text.
    target, hosts = await liar(b"220 go\r\n", close=close)
    scripted = await server()

    required = await send(scripted, tls=TlsMode.REQUIRED, hosts=hosts, through=make_pool())
    opportunistic = await send(scripted, tls=TlsMode.OPPORTUNISTIC, hosts=hosts, through=make_pool())

    assert isinstance(required.outcome, Unreachable)
    assert required.outcome.kind is UnreachableKind.TLS
    assert opportunistic.outcome.code == 250
    assert opportunistic.tls is None
    assert target.connections == 3


async def test_implicit_tls_speaks_it_from_the_first_octet(server, send, make_pool, authority):
    target = await server(context=authority.context("localhost"), implicit_tls=True)

    result = await send(target, tls=TlsMode.VERIFY, implicit_tls=True, through=make_pool(ca_file=authority.ca_file))

    assert result.outcome.code == 250
    assert result.tls.startswith("TLSv1.3")
    assert target.commands[:2] == ["EHLO sender.example", "MAIL FROM:<a@sender.example> SIZE=46"]


async def test_implicit_tls_with_an_unknown_authority_is_a_tls_failure(server, send, authority):
    target = await server(context=authority.context("localhost"), implicit_tls=True)

    result = await send(target, tls=TlsMode.VERIFY, implicit_tls=True)

    assert isinstance(result.outcome, Unreachable)
    assert result.outcome.kind is UnreachableKind.TLS


async def test_implicit_tls_of_a_plain_server_is_a_failure_not_plain_text(server, send):
    target = await server()

    result = await send(target, tls=TlsMode.REQUIRED, implicit_tls=True)

    assert isinstance(result.outcome, Unreachable)
    assert result.outcome.kind is UnreachableKind.TLS
    assert target.mails == []


async def test_a_large_message_arrives_whole_under_tls(server, send, authority):
    target = await server(context=authority.context("localhost"))
    message = b"".join(b"%070d\r\n" % n for n in range(10_000))

    assert (await send(target, tls=TlsMode.REQUIRED, message=message)).outcome.code == 250
    assert target.mails[0].data == message + b".\r\n"


async def test_many_mails_share_one_handshake(server, send, pool, authority):
    target = await server(context=authority.context("localhost"))

    for _ in range(20):
        assert (await send(target, tls=TlsMode.REQUIRED)).outcome.code == 250

    assert len(target.sessions) == 1
    assert pool.stats().tls_total == pool.stats().opened_total == 1


async def test_a_server_lost_after_the_dot_under_tls_is_reported_with_the_dot(server, send, authority):
    target = await server(context=authority.context("localhost"), answers={"DOT": "drop"})

    result = await send(target, tls=TlsMode.REQUIRED)

    assert isinstance(result.outcome, Unreachable)
    assert result.outcome.kind is UnreachableKind.LOST
    assert result.outcome.dot_sent
