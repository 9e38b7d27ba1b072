"""Over real sockets: ordinary clients, pipelining, personas, and the truth about what was answered."""

import asyncio
import smtplib
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from typing import Any

import pytest

from mailwarren.sink.server import Sink, running_sink

TIMER_SECONDS = 0.001
"""uvloop's timers count whole milliseconds from the start of the loop's turn: each may fire this much early."""
BODY = b"Message-ID: <%d@x>\r\n\r\nhi\r\n"


def a_mail(*to: str, message_id: str = "<1@x>") -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Message-ID"] = "a@x.test", ", ".join(to), message_id
    mail["Subject"] = "Grüße"
    mail.set_content("Hallo\n.\n..\nEnde\n")
    return mail


async def in_thread(sink: Sink, talk: Any) -> Any:
    def session() -> Any:
        with smtplib.SMTP(sink.smtp_host, sink.smtp_port, timeout=10) as client:
            return talk(client)

    return await asyncio.to_thread(session)


async def test_smtplib_delivers_and_the_dots_survive() -> None:
    async with running_sink(http=None) as sink:
        refused = await in_thread(sink, lambda c: c.send_message(a_mail("b@y.test", "c@z.test")))
        assert refused == {}
        stats = sink.store.stats()
        assert (stats.received, stats.accepted, stats.unique, stats.mails) == (2, 2, 2, 1)
        assert (stats.protocol_errors, stats.faults) == ({}, {})
        (mail,) = sink.store.mailbox.newest()
        assert mail.raw.endswith(b"\r\nHallo\r\n.\r\n..\r\nEnde\r\n")
        first, second = sink.store.records.select(0, 2)
        assert time.time() - 10 < first.received_at <= first.answered_at == second.answered_at <= time.time()


async def test_smtplib_hears_about_each_recipient() -> None:
    personas = [
        {
            "domains": ["no.test"],
            "rules": [{"stage": "rcpt", "code": 550, "enhanced": "5.1.1", "text": "Who?"}],
        }
    ]
    async with running_sink(script={"personas": personas}, http=None) as sink:
        refused = await in_thread(sink, lambda c: c.send_message(a_mail("b@y.test", "c@no.test")))
        assert refused == {"c@no.test": (550, b"5.1.1 Who?")}
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            await in_thread(sink, lambda c: c.send_message(a_mail("c@no.test")))
        assert (sink.store.stats().accepted, sink.store.stats().refused) == (1, 2)


async def test_smtplib_sends_utf8_addresses() -> None:
    async with running_sink(http=None) as sink:
        await in_thread(
            sink,
            lambda c: (
                c.ehlo(),
                c.sendmail(
                    "jürgen@x.test",
                    ["ゆき@東京.test"],
                    "Message-ID: <1@x>\r\n\r\nGrüße\r\n".encode(),
                    ["SMTPUTF8", "BODY=8BITMIME"],
                ),
            ),
        )
        (record,) = sink.store.records.select(0, 9)
        assert record.rcpt == "ゆき@東京.test"
        assert list(sink.store.stats().by_domain) == ["東京.test"]
        assert sink.store.stats().faults == {}


async def test_a_chain_of_mails_one_write_each(dial: Any) -> None:
    count = 200
    envelope = b"MAIL FROM:<a@x.test>\r\nRCPT TO:<u@y.test>\r\nDATA\r\n"
    async with running_sink(http=None) as sink, dial(sink) as client:
        client.say(envelope)
        for n in range(count):
            assert await client.codes(3) == [250, 250, 354]
            client.say(BODY % n + b".\r\n" + (envelope if n < count - 1 else b"QUIT\r\n"))
            assert await client.codes(1) == [250]
        assert await client.codes(1) == [221]
        assert await client.ends()
        stats = sink.store.stats()
        assert (count, count, 0) == (stats.accepted, stats.unique, stats.duplicates)
        assert [f"<{n}@x>" for n in range(count)] == [r.message_id for r in sink.store.records.select(0, count)]


async def test_drop_mid_data(dial: Any) -> None:
    async with running_sink(script={"personas": [{"domains": ["*"], "drop_mid_data": 1}]}, http=None) as sink:
        async with dial(sink) as client:
            assert await client.envelope(b"u@y.test") == [250, 250, 354]
            client.say(BODY % 1)
            assert await client.ends()
        stats = await sink.wait_until(lambda s: s.connections_open == 0)
        assert (stats.received, stats.dropped_mid_data, stats.lost_in_data) == (0, 1, 0)


async def test_drop_after_dot(dial: Any) -> None:
    async with running_sink(script={"personas": [{"domains": ["*"], "drop_after_dot": 1}]}, http=None) as sink:
        async with dial(sink) as client:
            assert await client.envelope(b"u@y.test") == [250, 250, 354]
            client.say(BODY % 1 + b".\r\n")
            assert await client.ends()
        stats = await sink.wait_until(lambda s: s.connections_open == 0)
        assert (stats.received, stats.accepted, stats.unanswered, stats.dropped_after_dot) == (1, 0, 1, 1)
        (record,) = sink.store.records.select(0, 9)
        assert (record.message_id, record.answered_at) == ("<1@x>", None)


async def test_greylisting_ends_by_itself(dial: Any) -> None:
    async with running_sink(script={"personas": [{"domains": ["*"], "greylist_s": 0.3}]}, http=None) as sink:
        async with dial(sink) as client:
            began = time.monotonic()
            assert [*await client.envelope(b"u@y.test"), *await client.ask(b"RSET")] == [250, 450, 554, 250]
            await client.ask(b"MAIL FROM:<a@x.test>")
            while await client.ask(b"RCPT TO:<u@y.test>") == [450]:
                await asyncio.sleep(0.02)
            assert time.monotonic() - began >= 0.3 - TIMER_SECONDS
        assert sink.store.stats().refused_by_stage["rcpt"] >= 2


async def test_latency_holds_back_each_reply_in_order(dial: Any) -> None:
    personas = [{"domains": ["slow.test"], "latency_ms": 50, "tarpit_ms_per_rcpt": 50, "dot_latency_ms": 450}]
    async with running_sink(script={"personas": personas}, http=None) as sink, dial(sink) as client:
        began = time.monotonic()
        assert await client.envelope(b"u@slow.test") == [250, 250, 354]
        assert time.monotonic() - began >= 0.15 - 4 * TIMER_SECONDS
        began = time.monotonic()
        client.say(BODY % 1 + b".\r\nNOOP\r\n")
        await sink.wait_until(lambda s: s.pending == 1)
        assert await client.codes(2) == [250, 250]
        assert time.monotonic() - began >= 0.5 - 2 * TIMER_SECONDS
        (record,) = sink.store.records.select(0, 9)
        assert record.answered_at - record.received_at >= 0.45 - TIMER_SECONDS


async def test_a_client_that_hangs_up_on_a_slow_dot_is_unanswered(dial: Any) -> None:
    personas = [{"domains": ["*"], "dot_latency_ms": 20_000}]
    async with running_sink(script={"personas": personas}, http=None) as sink:
        for reset in (False, True):
            async with dial(sink) as client:
                await client.envelope(b"u@y.test")
                client.say(BODY % reset + b".\r\n")
                await sink.wait_until(lambda s: s.pending == 1)
                if reset:
                    linger = struct.pack("ii", 1, 0)
                    client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                client.writer.transport.abort()
            await sink.wait_until(lambda s: s.pending == 0 and s.connections_open == 0)
        assert [record.answered_at for record in sink.store.records.select(0, 9)] == [None, None]
        assert (sink.store.stats().unanswered, sink.store.stats().accepted) == (2, 0)


UNIT = b"EHLO x\r\n" * 100 + b"MAIL FROM:<a@x.test>\r\nRCPT TO:<u@y.test>\r\nDATA\r\nMessage-ID: <%d@x>\r\n\r\n.\r\n"
UNITS = 900  # some 10 MB of replies: more than the kernel buffers for one connection


@asynccontextmanager
async def flood(sink: Sink, trust: ssl.SSLContext | None) -> AsyncIterator[tuple[asyncio.StreamReader, socket.socket]]:
    """A client that sends mails and does not read its replies, at the moment when the sink has stopped reading too."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect((sink.smtp_host, sink.smtp_port))
    reader, writer = await asyncio.open_connection(sock=raw)
    try:
        await reader.readline()
        if trust:
            writer.write(b"EHLO x\r\n")
            while not (await reader.readline()).startswith(b"250 "):
                pass
            writer.write(b"STARTTLS\r\n")
            await reader.readline()
            await writer.start_tls(trust, server_hostname="127.0.0.1")
        writer.write(b"".join(UNIT % n for n in range(UNITS)))
        await sink.wait_until(lambda s: s.pending > 0)
        received = -1
        while received != (received := sink.store.stats().received):
            await asyncio.sleep(0.2)
        yield reader, raw
    finally:
        writer.transport.abort()
        await sink.wait_until(lambda s: s.connections_open == 0)


@pytest.mark.parametrize("encrypted", [False, True])
async def test_answers_that_the_kernel_did_not_take_are_not_given(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, *, encrypted: bool
) -> None:
    async with running_sink(tls=server_tls, http=None) as sink:
        async with flood(sink, client_tls if encrypted else None):
            stats = sink.store.stats()
            assert stats.pending > 0
            assert stats.received == stats.accepted + stats.pending
            # The sink has stopped reading: its memory does not grow with what the client sends.
            assert stats.received < UNITS
        after = sink.store.stats()
        assert (after.accepted, after.pending) == (stats.accepted, 0)
        assert after.unanswered == stats.pending


@pytest.mark.parametrize("encrypted", [False, True])
async def test_answers_count_when_a_slow_reader_takes_them_at_last(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, *, encrypted: bool
) -> None:
    async with running_sink(tls=server_tls, http=None) as sink:
        async with flood(sink, client_tls if encrypted else None) as (reader, _):
            for n in range(UNITS):
                await asyncio.wait_for(reader.readuntil(b"queued as %d\r\n" % n), 10)
            stats = await sink.wait_until(lambda s: s.pending == 0)
        assert (stats.received, stats.accepted) == (UNITS, UNITS)


async def test_the_connection_cap_is_for_each_server(dial: Any) -> None:
    async with running_sink(script={"connection_cap": 2}, smtp_extra=["127.0.0.1:0"], http=None) as sink:
        extra = int(sink.addresses.smtp_extra[0].rpartition(":")[2])
        async with dial(sink), dial(sink), dial(sink, port=extra):
            async with dial(sink, hello=False) as turned_away:
                assert (await turned_away.reply())[:10] == b"421 4.7.0 "
                assert await turned_away.ends()
            async with dial(sink, port=extra):
                pass
            assert sink.store.stats().refused_by_stage["connect"] == 1
        await sink.wait_until(lambda s: s.connections_open == 0)
        async with dial(sink):
            pass


async def test_the_script_can_change_between_mails(dial: Any) -> None:
    async with running_sink(http=None) as sink, dial(sink) as client:
        sink.play({"personas": [{"domains": ["*"], "rules": [{"stage": "rcpt", "code": 451}]}]})
        assert [*await client.envelope(b"u@y.test"), *await client.ask(b"RSET")] == [250, 451, 554, 250]
        sink.play({})
        assert await client.envelope(b"u@y.test") == [250, 250, 354]


async def test_stopping_says_421_and_leaves_the_store(dial: Any) -> None:
    async with running_sink(http=None) as sink:
        async with dial(sink) as idle, dial(sink) as busy:
            assert await busy.envelope(b"u@y.test") == [250, 250, 354]
            busy.say(BODY % 1 + b".\r\n")
            assert await busy.codes(1) == [250]
            assert await busy.envelope(b"u@y.test") == [250, 250, 354]
            await sink.stop()
            assert await idle.codes(1) == [421]
            assert await idle.ends()
            assert await busy.ends()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(sink.smtp_host, sink.smtp_port)
        assert (sink.store.stats().accepted, sink.store.stats().connections_open) == (1, 0)


async def test_many_connections_at_once(dial: Any) -> None:
    async with running_sink(http=None) as sink:

        async def one(n: int) -> None:
            async with dial(sink) as client:
                assert await client.envelope(b"u%d@y.test" % n) == [250, 250, 354]
                client.say(BODY % n + b".\r\n")
                assert await client.codes(1) == [250]

        await asyncio.gather(*[one(n) for n in range(200)])
        assert (
            sink.store.stats().accepted,
            sink.store.stats().unique,
            sink.store.stats().connections,
        ) == (200, 200, 200)
