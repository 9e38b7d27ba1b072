"""A private Postfix, started and stopped."""

import asyncio
import smtplib
import socket
from email.message import EmailMessage
from pathlib import Path

import psutil
import pytest

from mailwarren.baselines.postfix_relay import NotStarted, PostfixRelay, missing
from mailwarren.devstack.ports import free_ports
from mailwarren.sink.server import running_sink

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))


def send(address: str, recipient: str) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Message-ID"] = "ada@sender.test", recipient, "<1@sender.test>"
    message.set_content("Hello\n")
    host, _, port = address.rpartition(":")
    with smtplib.SMTP(host, int(port), local_hostname="bench.test", timeout=10) as connection:
        connection.send_message(message)


async def test_it_passes_mail_on_and_leaves_nothing_behind() -> None:
    async with running_sink() as sink:
        relay = PostfixRelay(free_ports(1)[0], f"{sink.smtp_host}:{sink.smtp_port}")
        await asyncio.to_thread(relay.__enter__)
        try:
            await asyncio.to_thread(send, relay.address, "bob@d7.test")
            await sink.wait_until(lambda stats: stats.accepted == 1)
            (record,) = sink.store.records.select(0, 10)
            assert (record.rcpt, record.message_id) == ("bob@d7.test", "<1@sender.test>")
            (master,) = relay.pids
            family = [psutil.Process(master), *psutil.Process(master).children(recursive=True)]
            assert {"smtpd", "cleanup", "qmgr", "smtp"} <= {process.name() for process in family}
            (home,) = [Path(part).parent for part in psutil.Process(master).cmdline() if part.endswith("/etc")]
            assert home.is_dir()
        finally:
            await asyncio.to_thread(relay.stop)
    assert relay.pids == []
    assert [process for process in family if process.is_running() and process.status() != "zombie"] == []
    assert not home.exists()


def test_a_taken_port_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        relay = PostfixRelay(port, "127.0.0.1:9")
        with pytest.raises(NotStarted, match=rf":{port} .*status 1"), relay:
            pass
    assert relay.pids == []
