"""STARTTLS and AUTH with smtplib and certificates of a CA made for the test."""

import asyncio
import contextlib
import smtplib
import ssl
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

import pytest

from mailwarren.sink.server import Sink, running_sink


async def session(sink: Sink, talk: Callable[[smtplib.SMTP], Any]) -> Any:
    def connected() -> Any:
        with smtplib.SMTP(sink.smtp_host, sink.smtp_port, timeout=10) as client:
            return talk(client)

    return await asyncio.to_thread(connected)


def a_mail(size: int = 10) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Message-ID"] = "a@x.test", "b@y.test", "<1@x>"
    mail.set_content("x" * 70 + "\n" + ("y" * 70 + "\n") * (size // 71))
    return mail


async def test_mail_over_tls_is_received_and_answered(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    def talk(client: smtplib.SMTP) -> None:
        client.ehlo()
        assert client.has_extn("starttls")
        client.starttls(context=client_tls)
        client.ehlo()
        assert not client.has_extn("starttls")
        client.send_message(a_mail())
        client.send_message(a_mail(size=500_000))

    async with running_sink(tls=server_tls, http=None) as sink:
        await session(sink, talk)
        stats = await sink.wait_until(lambda s: s.connections_open == 0)
        assert (stats.received, stats.accepted, stats.unanswered, stats.pending) == (2, 2, 0, 0)
        first, second = sink.store.records.select(0, 9)
        assert first.answered_at is not None and second.answered_at is not None
        assert second.size > 500_000


async def test_a_command_that_comes_with_the_end_of_the_handshake_is_answered_over_tls(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, dial: Any
) -> None:
    async with running_sink(tls=server_tls, http=None) as sink, dial(sink) as client:
        assert await client.ask(b"STARTTLS") == [220]
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = client_tls.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                client.say(outgoing.read())
                incoming.write(await asyncio.wait_for(client.reader.read(65_536), 10))
        tls.write(b"EHLO x\r\n")
        client.say(outgoing.read())
        answer = b""
        while b"\n250 " not in answer:
            incoming.write(await asyncio.wait_for(client.reader.read(65_536), 10))
            with contextlib.suppress(ssl.SSLWantReadError):
                answer += tls.read(65_536)
        assert b"STARTTLS" not in answer


async def test_plain_mail_is_taken_where_tls_is_only_offered(server_tls: ssl.SSLContext) -> None:
    async with running_sink(tls=server_tls, http=None) as sink:
        await session(sink, lambda client: client.send_message(a_mail()))
        assert sink.store.stats().accepted == 1


async def test_a_client_that_does_not_trust_us_leaves_nothing_behind(server_tls: ssl.SSLContext) -> None:
    def talk(client: smtplib.SMTP) -> None:
        client.ehlo()
        with pytest.raises(ssl.SSLCertVerificationError):
            client.starttls(context=ssl.create_default_context())
        client.close()

    async with running_sink(tls=server_tls, http=None) as sink:
        await session(sink, talk)
        stats = await sink.wait_until(lambda s: s.connections_open == 0)
        assert (stats.connections, stats.received) == (1, 0)


async def test_a_client_that_goes_away_instead_of_tls_leaves_nothing_behind(
    server_tls: ssl.SSLContext, dial: Any
) -> None:
    async with running_sink(tls=server_tls, http=None) as sink:
        async with dial(sink) as gone:
            assert await gone.ask(b"STARTTLS") == [220]
        async with dial(sink) as garbled:
            assert await garbled.ask(b"STARTTLS") == [220]
            garbled.say(b"MAIL FROM:<a@x.test>\r\n")
            assert b"250" not in await asyncio.wait_for(garbled.reader.read(), 10)
        await sink.wait_until(lambda s: s.connections_open == 0)


async def test_stopping_during_a_handshake(server_tls: ssl.SSLContext, dial: Any) -> None:
    async with running_sink(tls=server_tls, http=None) as sink, dial(sink) as client:
        assert await client.ask(b"STARTTLS") == [220]
        await sink.stop()
        assert await client.ends()
        assert sink.store.stats().connections_open == 0


async def test_a_slow_dot_over_tls_that_the_client_does_not_wait_for(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    def talk(client: smtplib.SMTP) -> None:
        client.ehlo()
        client.starttls(context=client_tls)
        client.ehlo()
        client.mail("a@x.test")
        client.rcpt("b@y.test")
        client.docmd("DATA")
        client.send(b"Message-ID: <1@x>\r\n\r\nhi\r\n.\r\n")
        client.close()

    script = {"personas": [{"domains": ["*"], "dot_latency_ms": 20_000}]}
    async with running_sink(script=script, tls=server_tls, http=None) as sink:
        await session(sink, talk)
        stats = await sink.wait_until(lambda s: s.connections_open == 0 and s.received == 1)
        assert (stats.accepted, stats.unanswered, stats.pending) == (0, 1, 0)


async def test_login_after_tls(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    def talk(client: smtplib.SMTP) -> None:
        client.ehlo()
        assert not client.has_extn("auth")
        with pytest.raises(smtplib.SMTPSenderRefused) as early:
            client.send_message(a_mail())
        assert early.value.smtp_code == 530
        client.starttls(context=client_tls)
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login("joe", "wrong")
        client.login("joe", "secret")
        client.send_message(a_mail())

    async with running_sink(tls=server_tls, credentials=("joe", "secret"), http=None) as sink:
        await session(sink, talk)
        assert (sink.store.stats().accepted, sink.store.stats().refused_by_stage["mail"]) == (1, 1)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_both_mechanisms_let_mail_through(mechanism: str) -> None:
    def talk(client: smtplib.SMTP) -> None:
        client.ehlo()
        client.user, client.password = "joe", "secret"
        client.auth(mechanism, client.auth_plain if mechanism == "PLAIN" else client.auth_login)
        client.send_message(a_mail())

    async with running_sink(credentials=("joe", "secret"), http=None) as sink:
        await session(sink, talk)
        assert sink.store.stats().accepted == 1
