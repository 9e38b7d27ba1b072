"""One cell of a rival: the same mails, the same receiver, and no more time than the cell has.

What a rival has not done by then is ``open``. Its times are taken from the receiver's record: to each 250, from the
request that brought the mail; a loop of smtplib has all its mails from the start.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import psutil
import uvloop

from mailwarren.baselines.letter import Letter
from mailwarren.baselines.postfix_relay import PostfixRelay, missing
from mailwarren.bench.cpu import CpuMeter
from mailwarren.bench.injector import inject
from mailwarren.bench.rivals import BULK_SIZE, body, post_to, prepared, templates, warm_up
from mailwarren.bench.stand import Sink
from mailwarren.bench.textbook import Textbook
from mailwarren.bench.work import ENVELOPE_SENDER, SENDER, Recipient, make_work
from mailwarren.devstack.harness.sink import SinkWitness
from mailwarren.devstack.harness.system import System
from mailwarren.devstack.ports import free_ports
from mailwarren.stress.grid import CONNECTIONS, Cell, Row
from mailwarren.stress.ours import curve
from mailwarren.stress.progress import Progress
from mailwarren.stress.result import Outcome, spread, sustained
from mailwarren.stress.script import REFUSAL, SENDER_DOMAIN, personas
from mailwarren.stress.watch import Watch, cores_used, with_children
from mailwarren.stress.work import everyone

_POLL = 0.1
_SLICE = 2 * BULK_SIZE
"""Mails of the textbook between two looks at the clock."""
_WARM_UP_RELAY = 100
Begun = dict[str, float]
"""When each recipient's mail was handed over, Unix seconds."""


class Place(Protocol):
    """What a rival's cell needs of a stand."""

    @property
    def system(self) -> System:
        """Its receiver's record."""

    @property
    def sink(self) -> Sink:
        """The receiver."""

    @property
    def amqp_url(self) -> str:
        """The broker that the textbook uses."""

    @property
    def database_url(self) -> str:
        """The database that the textbook uses."""

    @property
    def broker_pids(self) -> list[int]:
        """For the CPU."""

    @property
    def postgres_pids(self) -> list[int]:
        """For the CPU."""


def why_missing(cell: Cell) -> str | None:
    """Why this rival cannot run here, and what to do; None when it can."""
    return missing() if cell.row is Row.POSTFIX else None


class _Round:
    """One cell: the receiver, the clock and the meters."""

    def __init__(self, stand: Place, cell: Cell, progress: Progress) -> None:
        if stand.system.sink is None:
            raise RuntimeError("the stand has no sink")
        self.stand, self.cell, self._progress = stand, cell, progress
        self.witness: SinkWitness = stand.system.sink
        self._began_at = datetime.now(UTC)
        self._begin = self._until = 0.0

    def prepare(self) -> None:
        """From now on the receiver plays the cell's script and counts."""
        self.witness.play(*personas(self.cell))
        self.witness.forget()

    @contextmanager
    def measured(self, groups: dict[str, list[int]]) -> Iterator[None]:
        """Around the load: measure these processes, and wait until all mail or all time is at its end."""
        everything = groups | {"sink": list(self.stand.sink.pids)}
        self._meter = CpuMeter(everything, own="client")
        watched = {part: pids for part, pids in everything.items() if part != "postfix"}  # its children come and go
        self._watch = Watch(with_children(watched))
        with self._watch:
            self._meter.start()
            self._begin = time.time()
            yield
            self._wait()
            self._until = time.time()
            self._cpu = self._meter.read(1)
        self._cpu["watch"] = self._watch.cpu_seconds * 1e6
        self._cpu["client"] -= self._cpu["watch"]

    @property
    def time_left(self) -> bool:
        """The cell's seconds are not over."""
        return time.time() < self._begin + self.cell.seconds

    def _wait(self) -> None:
        while self.time_left and sum(self._counts()) < self.cell.mails:
            self._progress.within(self._counts()[0], self.cell.mails)
            time.sleep(_POLL)

    def _counts(self) -> tuple[int, int]:
        """Delivered, and refused for good by a rival that takes a no for an answer."""
        stats = self.witness.stats()
        codes = {int(code): count for code, count in stats["by_code"].items()}
        notices = stats["by_domain"].get(SENDER_DOMAIN, {}).get("accepted", 0)
        gives_up = self.cell.row is not Row.TEXTBOOK  # it tries again a minute later, three times
        return codes.get(250, 0) - notices, codes.get(int(str(REFUSAL["code"])), 0) * gives_up

    def outcome(self, begun: Begun) -> Outcome:
        """What was measured; ``begun`` empty: all mails were there with the first one at the receiver."""
        records = [one for one in self.witness.records() if one.answered_at and one.code == 250]  # noqa: PLR2004 - SMTP's yes
        # Postfix tells the sender what it could not deliver, by mail.
        arrived = {one.rcpt: one for one in records if one.rcpt != ENVELOPE_SENDER}
        ends = {rcpt: one.answered_at or 0.0 for rcpt, one in arrived.items()}
        first = min((one.received_at for one in arrived.values()), default=self._begin)
        start = min(begun.values(), default=first)
        begins = begun or dict.fromkeys(ends, first)
        _, refused = self._counts()
        unfinished = max(0, self.cell.mails - len(arrived) - refused)
        end = self._until if unfinished else max(ends.values(), default=self._until)
        busy, whole, stolen = cores_used(self._watch.samples, start, end)
        done = max(1, len(arrived) + refused)
        every = list(begins.values()) if begun else [first] * self.cell.mails
        return Outcome(
            cell=self.cell,
            began=self._began_at.isoformat(timespec="seconds"),
            seconds=end - start,
            accept_seconds=max(begins.values(), default=start) - start,
            delivered=len(arrived),
            refused=refused,
            open=unfinished,
            completion=spread([at - begins[rcpt] for rcpt, at in ends.items()]),
            sustained=sustained(list(ends.values())),
            cpu={part: spent / done for part, spent in self._cpu.items()},
            busy=busy,
            machine=whole,
            stolen=stolen,
            cores=psutil.cpu_count() or 1,
            curve=curve(every, list(ends.values()), self._watch.samples, start, end),
        )


def run_cell(stand: Place, cell: Cell, progress: Progress) -> Outcome:
    """Measure one rival.

    Args:
        stand: without our services.
        cell: the load; :func:`why_missing` has said None of it.
        progress: is told how far it is.
    """
    work = everyone(cell, "r")
    run = {Row.SMTPLIB: _smtplib, Row.TEXTBOOK: _textbook, Row.POSTFIX: _postfix}[cell.row]
    with ExitStack() as open_, templates() as folder:
        return run(_Round(stand, cell, progress), work, folder, open_)


def _smtplib(this: _Round, work: Sequence[Recipient], folder: Path, open_: ExitStack) -> Outcome:
    """So many loops side by side, each with its part of the list and one connection."""
    count = this.cell.senders
    home = Path(open_.enter_context(tempfile.TemporaryDirectory(prefix="mailwarren-stress-")))
    files = [home / f"{number}.jsonl" for number in range(count)]
    for number, file in enumerate(files):
        file.write_bytes(b"".join(body(one) + b"\n" for one in work[number::count]))
    module = (sys.executable, "-m", "mailwarren.baselines.smtplib_loop", "--smtp", this.stand.sink.smtp_address)
    more = ("--templates", str(folder), "--from", SENDER)
    this.prepare()
    loops = []
    for file in files:
        loop = subprocess.Popen([*module, "--messages", str(file), *more], stdout=subprocess.DEVNULL)
        open_.callback(loop.wait)
        open_.callback(loop.kill)
        loops.append(loop)
    with this.measured({"sender": [loop.pid for loop in loops]}):
        pass  # they run
    return this.outcome({})


def _textbook(this: _Round, work: Sequence[Recipient], folder: Path, open_: ExitStack) -> Outcome:
    """So many processes in its worker."""
    stand = this.stand
    places = {"amqp_url": stand.amqp_url, "database_url": stand.database_url}
    this.witness.play()
    textbook = open_.enter_context(
        Textbook(**places, smtp=stand.sink.smtp_address, templates=folder, concurrency=this.cell.senders)
    )
    warm_up(textbook)
    groups = {"ingest": textbook.api_pids, "broker": stand.broker_pids, "sender": textbook.worker_pids}
    begun: Begun = {}
    this.prepare()
    with this.measured(groups | {"postgres": stand.postgres_pids}):
        for at in range(0, len(work), _SLICE):
            if not this.time_left:
                break
            some = work[at : at + _SLICE]
            posts = post_to(textbook, some, single=False, rate=None)
            begun |= {one.to: posts[place // BULK_SIZE].started_at for place, one in enumerate(some)}
    textbook.check()
    return this.outcome(begun)


def _postfix(this: _Round, work: Sequence[Recipient], folder: Path, open_: ExitStack) -> Outcome:
    """So many times 20 connections to the receiver, as that many of our senders have."""
    letter = Letter(folder, SENDER)
    mails, few = prepared(letter, work), prepared(letter, make_work(_WARM_UP_RELAY, tag="warm"))
    this.witness.play()
    this.witness.forget()
    connections = this.cell.senders * CONNECTIONS
    relay = PostfixRelay(free_ports(1)[0], this.stand.sink.smtp_address, connections=connections)
    postfix = open_.enter_context(relay)
    uvloop.run(inject(postfix.address, ENVELOPE_SENDER, few))
    this.stand.sink.wait_for(len(few), this.cell.seconds)
    this.prepare()
    with this.measured({"postfix": postfix.pids}):
        injected = uvloop.run(inject(postfix.address, ENVELOPE_SENDER, mails))
    return this.outcome({one.recipient: one.started_at for one in injected})
