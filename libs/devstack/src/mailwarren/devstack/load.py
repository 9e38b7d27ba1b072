"""``make load``: Locust on the running system, and the ledger of its mails: four counts, none derived.

Locust and its users are a package of their own (``mailwarren-load``), which is run here as a process: importing Locust
patches all of Python's I/O. What it leaves is a file with a line for each recipient that the API said yes to.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import msgspec

from mailwarren.contracts.lanes import Lane
from mailwarren.devstack.demo import BALANCED, INTERRUPTED, NOT_RUN, UNBALANCED
from mailwarren.devstack.demo.balancing import balance
from mailwarren.devstack.demo.drive import QUIET_PATIENCE
from mailwarren.devstack.demo.ledger import Accepted, Copies, Entry, Finding, Ledger
from mailwarren.devstack.demo.progress import Pace, eta
from mailwarren.devstack.demo.queues import Queues
from mailwarren.devstack.demo.records import UNREADABLE, Records
from mailwarren.devstack.demo.report import finding_lines, ledger_lines
from mailwarren.devstack.demo.targets import Targets
from mailwarren.devstack.demo.witness import Witness
from mailwarren.devstack.env_file import variables
from mailwarren.devstack.errors import DevstackError
from mailwarren.devstack.ports import free_ports
from mailwarren.devstack.stack import Stack
from mailwarren.devstack.state import LocalDir
from mailwarren.devstack.system import environment
from mailwarren.devstack.terminal import say

TAG = "load_run"
"""Metadata entry of a run's mails, as ``mailwarren.load`` writes it."""
SENDER_DOMAIN = "load.mailwarren.test"
LEDGER = "ledger.ndjson"
STILL = 60.0
"""Seconds without a new end after which no more are waited for."""
_LOOK_EVERY = 2.0
_ENDING = 120.0


def load(stack: Stack, arguments: Sequence[str], *, web: bool = False) -> int:
    """Run ``mailwarren-load run`` and balance the ledger; returns the exit status.

    Args:
        stack: of this clone.
        arguments: for ``mailwarren-load run``. With ``--url`` it is another system that is loaded: the account is then
            its own, by the API alone.
        web: serve Locust's page on a free port.
    """
    folder = stack.local.path / "load" / f"{datetime.now():%Y%m%d-%H%M%S}"  # noqa: DTZ005 - a name for people
    run = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}"
    command = [_script(), "run", "--folder", str(folder), "--run", run, *arguments]
    if web:
        command += ["--web", f"127.0.0.1:{free_ports(1)[0]}"]
    if "--url" in arguments:
        status = _run(command, os.environ)
        _say_folder(folder)
        return status
    env = _system(stack)
    targets = Targets.of(env)
    queues = Queues(targets)
    asyncio.run(queues.check())
    begun = datetime.now(UTC)
    status = _run([*command, "--no-account"], env)
    if status == NOT_RUN or not (folder / LEDGER).exists():
        return status
    balances = asyncio.run(account(targets, queues, folder, run, begun))
    _say_folder(folder)
    return status if status == INTERRUPTED else BALANCED if balances and status == BALANCED else UNBALANCED


def _system(stack: Stack) -> dict[str, str]:
    """The variables of the system that ``make up`` started.

    Raises:
        DevstackError: there is none.
    """
    at = stack.addresses()
    if at is None or not any(one.state == "running" for one in stack.supervisor.status().values()):
        raise DevstackError("No system runs here: `make up` first. Or another one: make load URL=http://…/v1 KEY=…")
    if at.smtp_url is not None:
        raise DevstackError(
            "This system sends to a real relay (SMTP_URL): no load on it. `make down`, `make up` first."
        )
    ours = {**environment(at), **variables(at, stack.api_key())}
    kept = {name: value for name, value in os.environ.items() if name not in {"SMTP_URL", "MAILWARREN_SMTP_URL"}}
    return {**kept, **ours}


def _script() -> str:
    return str(Path(sys.executable).with_name("mailwarren-load"))


def _run(command: Sequence[str], env: Mapping[str, str]) -> int:
    """The command in a session of its own: an interruption reaches it once, and it ends in order."""
    process = subprocess.Popen(command, env=dict(env), start_new_session=True)
    try:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGTERM)
            process.wait(_ENDING)
            return INTERRUPTED
    finally:
        if process.poll() is None:
            # Asked twice, or not done in time: all of its session, Locust's processes have their own and end with it.
            process.send_signal(signal.SIGTERM)
            process.wait(_ENDING)


def read_ledger(folder: Path) -> tuple[list[Accepted], list[Finding]]:
    """The client's count: what was accepted, and calls without an answer. Rows are lines of the file."""
    accepted: list[Accepted] = []
    silent: list[Finding] = []
    decoder = msgspec.json.Decoder(list[str])
    with (folder / LEDGER).open("rb") as file:
        for number, line in enumerate(file, start=1):
            kind, *fields = decoder.decode(line)
            if kind == "accepted":
                accepted.append(Accepted(UUID(fields[0]), number, Lane(fields[2]), fields[1]))
            else:
                silent.append(Finding(Lane(fields[1]), f"line {number}", fields[2]))
    return accepted, silent


async def account(targets: Targets, queues: Queues, folder: Path, run: str, since: datetime) -> bool:
    """Wait for every mail's end, lay the four counts side by side and print them; whether they balance.

    Args:
        targets: the parts of the system.
        queues: of the broker, checked before the run.
        folder: of the run, with its ledger.
        run: its name in the mails' metadata.
        since: when it began.
    """
    accepted, silent = read_ledger(folder)
    records = Records(targets.database_url, tag=TAG)
    try:
        async with Witness(targets.sink_url) as witness:
            in_time = await _wait(records, [one.id for one in accepted])
            say("==> Counting: the API's answers, Postgres, the sink, the broker")
            depths = await queues.quiet(QUIET_PATIENCE if in_time else 0.0)
            entries = await records.entries([one.id for one in accepted], run, since)
            pairs = await _pairs(await witness.pairs(), entries, records, run)
            ledger = balance(accepted, entries, pairs, depths, silent)
    finally:
        await records.close()
    _say_ledger(ledger)
    return ledger.balances


async def _wait(records: Records, ids: Sequence[UUID]) -> bool:
    """Until every mail has an end; whether they all came."""
    pace, moved, ended = Pace(), time.monotonic(), -1
    shown = 0.0
    while True:
        try:
            count = (await records.states(ids)).ended.total()
        except UNREADABLE as error:
            if time.monotonic() - moved > STILL:
                raise DevstackError(f"Postgres has been away for {STILL:.0f} s: {error}") from error
            count = ended
        now = time.monotonic()
        if count >= len(ids):
            return True
        if count != ended:
            moved, ended = now, count
        if now - moved > STILL:
            return False
        rate = pace.see(max(0, count), now)
        if now - shown > _LOOK_EVERY:
            shown = now
            left = eta(len(ids) - count, rate)
            say(f"    {max(0, count):,} of {len(ids):,} mails have their end, {rate:,.0f}/s, {left}")
        await asyncio.sleep(min(_LOOK_EVERY, 0.3 + len(ids) / 50_000))


async def _pairs(pairs: Sequence[Copies], entries: Sequence[Entry], records: Records, run: str) -> list[Copies]:
    """The sink's pairs of this run: from our sender's domain, and recorded for it or for no other run."""
    ours = [pair for pair in pairs if pair.message_id.endswith(f"@{SENDER_DOMAIN}")]
    recorded = {(entry.message_id, entry.address) for entry in entries}
    strange = {pair: UUID(pair.message_id.partition("@")[0]) for pair in ours if pair[:2] not in recorded}
    others = await records.of_others(strange.values(), run) if strange else set()
    return [pair for pair in ours if strange.get(pair) not in others]


def _say_ledger(ledger: Ledger) -> None:
    for line in ("", *finding_lines(ledger), "", *ledger_lines(ledger)):
        say(line)


def _say_folder(folder: Path) -> None:
    local = LocalDir.of_clone().path.parent
    shown = folder.relative_to(local) if folder.is_relative_to(local) else folder
    say(f"Report, statistics and the ledger of every mail: {shown}")
