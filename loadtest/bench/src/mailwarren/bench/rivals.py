"""Runs the rivals on the same messages and the same sink.

The clock starts with the first request (or mail) and stops with the last mail at the sink; for the textbook design,
which writes down what it sent, with the last row. Starting a rival, compiling and a few mails to warm it do not count.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email.policy import SMTP
from pathlib import Path
from typing import Any, Protocol

import msgspec
import uvloop

from mailwarren.baselines.letter import Letter
from mailwarren.baselines.postfix_relay import PostfixRelay, missing
from mailwarren.bench.cpu import CpuMeter
from mailwarren.bench.http_client import Posted, post_all
from mailwarren.bench.injector import Envelope, dot_stuffed, inject
from mailwarren.bench.result import Result, percentiles
from mailwarren.bench.textbook import Textbook
from mailwarren.bench.work import ENVELOPE_SENDER, HTML, SENDER, SUBJECT, TEXT, Recipient, make_work
from mailwarren.devstack.ports import free_ports

BULK_SIZE = 500
"""Mails in one call of the textbook's bulk endpoint."""
BULK_CONNECTIONS = 2
SINGLE_CONNECTIONS = 32
_ACCEPTED = 202
_WARM_UP = 10
"""Mails for each process of the textbook's worker, so that each has its templates and its connection."""
_WARM_UP_RELAY = 100
"""Mails, so that Postfix has its processes."""
_SLOWEST = 20.0
"""Mails a second: a rival below that is stuck."""


class Sink(Protocol):
    """Where the mails go, and who counts them."""

    @property
    def smtp_address(self) -> str:
        """``127.0.0.1:port``."""

    @property
    def pids(self) -> Sequence[int]:
        """Its processes, for the CPU."""

    def accepted(self) -> int:
        """Mails that it answered with 250 so far."""

    def wait_for(self, count: int, timeout: float) -> None:
        """Return once :meth:`accepted` has reached ``count``.

        Raises:
            TimeoutError: it did not within ``timeout`` seconds.
        """


class Servers(Protocol):
    """The broker and the database that all share."""

    @property
    def amqp_url(self) -> str:
        """``amqp://…``."""

    @property
    def database_url(self) -> str:
        """``postgresql://…``, with any driver."""

    @property
    def broker_pids(self) -> Sequence[int]:
        """For the CPU."""

    @property
    def postgres_pids(self) -> Sequence[int]:
        """For the CPU."""


class Missing(msgspec.Struct):
    """A rival that cannot run here."""

    name: str
    why: str
    """And what to do about it."""


class NotMeasured(RuntimeError):
    """Something went wrong in a run, so there is no figure."""


def run_smtplib(sink: Sink, work: Sequence[Recipient]) -> Result:
    """The script with smtplib, one connection, one mail after the other.

    Raises:
        NotMeasured: it ended badly, or not every mail arrived exactly once.
    """
    meter = CpuMeter({"sink": sink.pids})
    with templates() as folder:
        messages = folder / "messages.jsonl"
        messages.write_bytes(b"".join(body(one) + b"\n" for one in work))
        module = ("-m", "mailwarren.baselines.smtplib_loop")
        files = ("--messages", str(messages), "--templates", str(folder))
        command = [sys.executable, *module, *files, "--smtp", sink.smtp_address, "--from", SENDER]
        before = sink.accepted()
        meter.start()
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_timeout(work))
    if done.returncode:
        raise NotMeasured(f"the smtplib loop ended with {done.returncode}:\n{done.stderr}")
    tally = json.loads(done.stdout)
    if tally["sent"] != len(work):
        raise NotMeasured(f"the smtplib loop sent {tally['sent']} of {len(work)} mails")
    _check(sink, before + len(work))
    cpu = {"sender": tally["cpu_seconds"] / len(work) * 1e6} | meter.read(len(work))
    return Result(name="smtplib loop", mails=len(work), seconds=tally["seconds"], cpu=cpu)


def run_textbook(
    sink: Sink,
    servers: Servers,
    work: Sequence[Recipient],
    *,
    single: bool,
    rate: float | None = None,
    queue: str = "textbook",
) -> Result:
    """FastAPI, Celery, a connection and a row for each mail.

    Args:
        sink: where it sends to.
        servers: whose broker and database it uses; its queue and its table are gone afterwards.
        work: the mails.
        single: one mail a request over 32 connections, not 500 over 2.
        rate: of singles, requests a second; None is as fast as they are answered.
        queue: its name, on a broker that others use.

    Raises:
        NotMeasured: not every request was accepted, or not every mail arrived exactly once.
        TextbookDied: a process ended, or rows are missing.
    """
    with templates() as folder:
        options: dict[str, Any] = {"smtp": sink.smtp_address, "templates": folder, "queue": queue}
        with Textbook(amqp_url=servers.amqp_url, database_url=servers.database_url, **options) as textbook:
            warm_up(textbook)
            groups = {"ingest": textbook.api_pids, "broker": servers.broker_pids, "sender": textbook.worker_pids}
            meter = CpuMeter(groups | {"postgres": servers.postgres_pids, "sink": sink.pids}, own="client")
            before = sink.accepted()
            meter.start()
            posts = post_to(textbook, work, single=single, rate=rate)
            ended = textbook.wait_rows(len(work), _timeout(work))  # each comes after its mail was sent
            cpu = meter.read(len(work))
            _check(sink, before + len(work))
    started = min(post.started_at for post in posts)
    return Result(
        name=f"textbook, {'single posts' if single else 'bulk'}",
        mails=len(work),
        seconds=ended - started,
        cpu=cpu,
        latency=percentiles([post.seconds for post in posts]),
        notes={"accept_seconds": max(post.answered_at for post in posts) - started},
    )


def run_postfix(sink: Sink, work: Sequence[Recipient]) -> Result | Missing:
    """Postfix as a relay: mails in over 20 connections, out over 20.

    Raises:
        NotMeasured: mails arrived more than once.
        NotStarted: it is installed and did not start.
        Refused: it did not take a mail.
        TimeoutError: not all arrived at the sink.
    """
    if why := missing():
        return Missing("Postfix relay", why)
    with templates() as folder:
        mails = prepared(Letter(folder, SENDER), work)
        few = prepared(Letter(folder, SENDER), make_work(_WARM_UP_RELAY, tag="warm"))
    with PostfixRelay(free_ports(1)[0], sink.smtp_address) as postfix:
        meter = CpuMeter({"sender": postfix.pids, "sink": sink.pids}, own="client")
        before = sink.accepted() + len(few)
        uvloop.run(inject(postfix.address, ENVELOPE_SENDER, few))
        sink.wait_for(before, _timeout(few))
        meter.start()
        injected = uvloop.run(inject(postfix.address, ENVELOPE_SENDER, mails))
        sink.wait_for(before + len(work), _timeout(work))
        ended = time.time()
        cpu = meter.read(len(work))
        _check(sink, before + len(work))
    started = min(one.started_at for one in injected)
    return Result(
        name="Postfix relay",
        mails=len(work),
        seconds=ended - started,
        cpu=cpu,
        latency=percentiles([one.seconds for one in injected]),
        notes={"accept_seconds": max(one.started_at + one.seconds for one in injected) - started},
    )


def _check(sink: Sink, expected: int) -> None:
    if (got := sink.accepted()) != expected:
        raise NotMeasured(f"{got} mails at the sink, not {expected}")


def prepared(letter: Letter, work: Sequence[Recipient]) -> list[Envelope]:
    """The mails, rendered and ready for the wire."""
    messages = (letter.addressed_to(one.to, one.variables).as_bytes(policy=SMTP) for one in work)
    return [Envelope(one.to, dot_stuffed(message)) for one, message in zip(work, messages, strict=True)]


def warm_up(textbook: Textbook) -> None:
    """A few mails for each of its processes; the table is empty afterwards."""
    few = make_work(_WARM_UP * textbook.concurrency, tag="warm")
    post_to(textbook, few, single=True, rate=None)
    textbook.wait_rows(len(few), _timeout(few))
    textbook.forget_rows()


def post_to(textbook: Textbook, work: Sequence[Recipient], *, single: bool, rate: float | None) -> list[Posted]:
    """Post every mail to the textbook's API.

    Raises:
        NotMeasured: not every request was accepted.
    """
    bodies = [body(one) for one in work]
    path, connections = "/send", SINGLE_CONNECTIONS
    if not single:
        path, connections, rate = "/send-bulk", BULK_CONNECTIONS, None
        bodies = [b"[%b]" % b",".join(bodies[at : at + BULK_SIZE]) for at in range(0, len(bodies), BULK_SIZE)]
    headers = {"Content-Type": "application/json"}
    posts = uvloop.run(post_all(textbook.url + path, headers, bodies, connections=connections, rate=rate))
    if refused := [post.status for post in posts if post.status != _ACCEPTED]:
        raise NotMeasured(f"the textbook did not accept {len(refused)} of {len(posts)} requests, such as {refused[0]}")
    return posts


def body(one: Recipient) -> bytes:
    """One mail, as the textbook and the smtplib loop read it."""
    return msgspec.json.encode({"to": one.to, "variables": one.variables})


def _timeout(work: Sequence[Any]) -> float:
    return 30 + len(work) / _SLOWEST


@contextmanager
def templates() -> Iterator[Path]:
    """A folder with the templates of :mod:`.work`, for as long as it is entered."""
    with tempfile.TemporaryDirectory(prefix="mailwarren-rivals-") as name:
        folder = Path(name)
        for file, text in (("subject.txt", SUBJECT), ("text.txt", TEXT), ("html.html", HTML)):
            (folder / file).write_text(text)
        yield folder
