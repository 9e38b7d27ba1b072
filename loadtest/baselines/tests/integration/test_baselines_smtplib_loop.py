"""The script against a real sink."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from mailwarren.baselines.letter import Letter
from mailwarren.baselines.smtplib_loop import Mailer, send_all
from mailwarren.sink.server import running_sink


@pytest.fixture
def letter(tmp_path: Path) -> Letter:
    for name in ("subject.txt", "text.txt", "html.html"):
        (tmp_path / name).write_text("Hello {{ name }}\n")
    return Letter(tmp_path, "ada@sender.test")


def people(count: int, domain: str = "d.test") -> list[dict]:
    return [{"to": f"u{n}@{domain}", "variables": {"name": f"N{n}"}} for n in range(count)]


async def test_the_program_sends_a_file_over_one_connection_and_says_what_it_did(
    letter: Letter, tmp_path: Path
) -> None:
    messages = tmp_path / "messages.jsonl"
    messages.write_text("".join(json.dumps(one) + "\n" for one in people(20)))
    async with running_sink() as sink:
        smtp = f"{sink.smtp_host}:{sink.smtp_port}"
        options = ("--smtp", smtp, "--messages", messages, "--templates", tmp_path, "--from", "ada@sender.test")
        program = (sys.executable, "-m", "mailwarren.baselines.smtplib_loop", *options)
        process = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
        printed, _ = await process.communicate()
        tally = json.loads(printed)
        assert (process.returncode, tally["sent"], tally["refused"]) == (0, 20, 0)
        assert 0 < tally["cpu_seconds"] <= tally["seconds"] * 1.1
        records = list(sink.store.records.select(0, 100))
        assert {record.rcpt for record in records} == {one["to"] for one in people(20)}
        assert len({record.connection for record in records}) == 1
        assert sink.store.stats().protocol_errors == {}


async def test_a_refused_mail_is_counted_and_the_others_are_sent(letter: Letter) -> None:
    rules = [{"stage": "rcpt", "code": 550}]
    async with running_sink(script={"personas": [{"domains": ["no.test"], "rules": rules}]}) as sink:
        mailer = Mailer(f"{sink.smtp_host}:{sink.smtp_port}")
        mixed = [*people(3), *people(2, "no.test"), *people(3)]
        tally = await asyncio.to_thread(send_all, mailer, letter, mixed)
        assert (tally.sent, tally.refused) == (6, 2)
        assert sink.store.stats().accepted == 6


async def test_a_dropped_connection_is_opened_again(letter: Letter) -> None:
    async with running_sink() as first:
        address = f"{first.smtp_host}:{first.smtp_port}"
        mailer = Mailer(address)
        await asyncio.to_thread(mailer.send, letter.addressed_to("a@d.test", {}))
    async with running_sink(smtp=address) as second:
        await asyncio.to_thread(mailer.send, letter.addressed_to("b@d.test", {}))
        await asyncio.to_thread(mailer.close)
        assert [record.rcpt for record in second.store.records.select(0, 10)] == ["b@d.test"]
