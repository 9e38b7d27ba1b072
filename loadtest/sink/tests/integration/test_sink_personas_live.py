"""Personas on real sockets: several hosts, resets that are resets, TLS that a client must refuse."""

import asyncio
import contextlib
import smtplib
import ssl
from typing import Any

import pytest

from mailwarren.sink.server import Sink, running_sink

MAIL = b"Message-ID: <1@x>\r\n\r\nhi\r\n.\r\n"


async def reply_at(address: str) -> bytes:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        return await asyncio.wait_for(reader.readline(), 10)
    finally:
        writer.close()
        await writer.wait_closed()


async def test_hosts_of_one_sink_are_servers_of_different_providers() -> None:
    script = {
        "personas": [
            {"hosts": ["127.0.0.2"], "rules": [{"stage": "connect", "code": 421, "text": "two"}]},
            {"hosts": ["mx1.big.test"], "rules": [{"stage": "connect", "code": 554, "text": "named"}]},
        ]
    }
    extra, mx = ["127.0.0.2:0", "127.0.0.3:0"], {"mx1.big.test": "127.0.0.2:0", "mx2.big.test": "127.0.0.4:0"}
    script["personas"].reverse()
    async with running_sink(script=script, smtp_extra=extra, mx=mx, http=None) as sink:
        two, three = sink.addresses.smtp_extra
        assert await reply_at(two) == b"421 two\r\n"
        assert await reply_at(three) == b"220 sink.mailwarren.test ESMTP Mailwarren sink\r\n"
        assert await reply_at(sink.addresses.mx["mx1.big.test"]) == b"554 named\r\n"
        assert await reply_at(sink.addresses.mx["mx2.big.test"]) == b"220 mx2.big.test ESMTP Mailwarren sink\r\n"
        assert sink.store.sites.addresses[two].replies == {421: 1}


async def test_a_connection_limit_is_seen_and_kept(dial: Any) -> None:
    script = {"personas": [{"name": "small", "domains": ["*"], "connections": 2}]}
    async with running_sink(script=script, http=None) as sink, dial(sink), dial(sink):
        async with dial(sink, hello=False) as third:
            assert await third.codes(1) == [421]
            assert await third.ends()
        await sink.wait_until(lambda stats: stats.connections_open == 2)
        async with dial(sink, hello=False) as fourth:
            assert await fourth.codes(1) == [421]
        site = sink.store.sites.personas["small"]
        await sink.wait_until(lambda stats: stats.connections_open == 2)
        assert (site.open, site.replies) == (2, {421: 2})


async def test_421_inside_the_data_can_be_read_while_the_client_is_still_sending(dial: Any) -> None:
    rule = {"stage": "mid_data", "code": 421, "text": "No room"}
    script = {"personas": [{"domains": ["x.test"], "rules": [rule]}]}
    async with running_sink(script=script, http=None) as sink, dial(sink) as client:
        assert await client.envelope(b"u@x.test") == [250, 250, 354]
        client.say(b"Message-ID: <1@x>\r\n\r\n" + b"x" * 70 + b"\r\n")
        for _ in range(200):
            client.say((b"y" * 70 + b"\r\n") * 100)
        assert await client.reply() == b"421 No room\r\n"
        assert await client.ends()
        client.writer.close()
        stats = await sink.wait_until(lambda stats: stats.connections_open == 0)
        assert (stats.received, stats.refused_by_stage["mid_data"]) == (0, 1)


@pytest.mark.parametrize("stage", ["connect", "mail", "mid_data", "dot"])
async def test_a_reset_reaches_the_client_as_a_reset(stage: str) -> None:
    script = {"personas": [{"domains": ["*"], "rules": [{"stage": stage, "reset": True}]}]}
    async with running_sink(script=script, http=None) as sink:
        reader, writer = await asyncio.open_connection(sink.smtp_host, sink.smtp_port)
        writer.write(b"EHLO x\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<u@x.test>\r\nDATA\r\n")

        async def talk() -> None:
            while line := await asyncio.wait_for(reader.readline(), 10):
                if line.startswith(b"354"):
                    writer.write(MAIL)

        with pytest.raises(ConnectionResetError):
            await talk()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        stats = await sink.wait_until(lambda stats: stats.connections_open == 0)
        assert stats.resets == {stage: 1}
        assert (stats.unanswered, stats.pending) == (int(stage == "dot"), 0)


async def starttls(sink: Sink, address: str, context: ssl.SSLContext, name: str) -> str:
    """What becomes of STARTTLS: ``taken``, or how it failed."""

    def talk() -> str:
        host, _, port = address.rpartition(":")
        with smtplib.SMTP(host, int(port), timeout=3) as client:
            client.ehlo()
            client._host = name  # the name that the certificate must be for
            try:
                client.starttls(context=context)
            except ssl.SSLCertVerificationError as error:
                client.close()
                return error.verify_message
            except (OSError, smtplib.SMTPException) as error:
                client.close()
                return type(error).__name__
            client.ehlo()
            client.sendmail("a@x.test", ["u@x.test"], MAIL[:-3])
            return "taken"

    return await asyncio.to_thread(talk)


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_each_kind_of_tls_is_what_it_is_called() -> None:
    kinds = (
        "valid", "expired", "wrong_name", "self_signed", "broken", "stalled",
        "with_authority", "not_yet_valid", "untrusted", "old_version",
    )  # fmt: skip
    personas = [{"name": kind, "hosts": [f"{kind.replace('_', '-')}.test"], "tls": kind} for kind in kinds]
    mx = {f"{kind.replace('_', '-')}.test": f"127.0.0.{n}:0" for n, kind in enumerate(kinds, 2)}
    async with running_sink(script={"personas": personas}, mx=mx, http=None) as sink:
        trusting = ssl.create_default_context(cadata=sink.certificates.pem.decode())
        results = await asyncio.gather(
            *(starttls(sink, address, trusting, name) for name, address in sink.addresses.mx.items())
        )
        assert results[0] == "taken"
        assert results[1] == "certificate has expired"
        assert results[2].startswith("Hostname mismatch")
        assert results[3] == "self-signed certificate"
        assert results[4] == "SSLError"
        assert results[5] == "TimeoutError"
        assert results[6:] == [
            "taken", "certificate is not yet valid", "unable to get local issuer certificate", "SSLError",
        ]  # fmt: skip
        sites = sink.store.sites
        await sink.wait_until(lambda stats: stats.connections_open == 0)
        assert [sites.personas[kind].mails for kind in kinds] == [1, 0, 0, 0, 0, 0, 1, 0, 0, 0]


async def test_a_sink_has_certificates_of_its_own(dial: Any) -> None:
    async with running_sink(tls=True, http=None) as sink:
        trusting = ssl.create_default_context(cadata=sink.certificates.pem.decode())
        assert await starttls(sink, sink.addresses.smtp, trusting, "127.0.0.1") == "taken"
        assert await starttls(sink, sink.addresses.smtp, ssl.create_default_context(), "127.0.0.1") == (
            "unable to get local issuer certificate"
        )


async def test_a_tarpit_trickles_on_the_wire(dial: Any) -> None:
    script = {"personas": [{"domains": ["*"], "octets_per_s": 400}]}
    async with running_sink(script=script, http=None) as sink:
        reader, writer = await asyncio.open_connection(sink.smtp_host, sink.smtp_port)
        begun = asyncio.get_running_loop().time()
        pieces = 0
        greeting = b""
        while not greeting.endswith(b"\n"):
            greeting += await asyncio.wait_for(reader.read(100), 10)
            pieces += 1
        took = asyncio.get_running_loop().time() - begun
        assert greeting == b"220 sink.mailwarren.test ESMTP Mailwarren sink\r\n"
        assert pieces > 3
        assert took > 0.08
        writer.close()
        await writer.wait_closed()


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_a_persona_s_rate_is_what_the_windows_show(dial: Any) -> None:
    script = {"personas": [{"name": "slow", "domains": ["x.test"], "recipients_per_s": 20}]}
    loop = asyncio.get_running_loop()
    async with running_sink(script=script, http=None) as sink, dial(sink) as client:
        until = loop.time() + 3.2
        while loop.time() < until:
            codes = await client.ask(b"MAIL FROM:<a@x.test>", b"RCPT TO:<u@x.test>", b"DATA")
            if codes[-1] == 354:
                client.say(MAIL)
                await client.codes(1)
            else:
                await client.ask(b"RSET")
                await asyncio.sleep(0.005)
        receiver = sink._receiver
        site = sink.store.sites.personas["slow"]
        found = list(site.windows(receiver.clock(), seconds=1, step=1))
        # The first second may begin with a second's worth saved up; after that there is none.
        assert all(w.accepted <= 41 for w in found)
        assert 18 <= found[1].accepted <= 41 and 18 <= found[2].accepted <= 22
        assert {w.connections_peak for w in found} == {1}
        assert sum(w.refused for w in found) > 0
