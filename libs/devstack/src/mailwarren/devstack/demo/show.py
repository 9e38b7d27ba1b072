"""The demo as a person sees it: what happens, how far it is, and what it came to."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from os import environ
from pathlib import Path

from rich.console import Console

from mailwarren.contracts.lanes import Lane
from mailwarren.devstack.demo import BALANCED, INTERRUPTED, NOT_RUN, UNBALANCED
from mailwarren.devstack.demo.drive import Outcome, driving
from mailwarren.devstack.demo.personas import PERSONAS
from mailwarren.devstack.demo.progress import board
from mailwarren.devstack.demo.recipients import Recipient, read_recipients
from mailwarren.devstack.demo.report import finding_lines, ledger_lines, place_lines, rate_lines, refused_lines
from mailwarren.devstack.demo.targets import Targets
from mailwarren.devstack.errors import DevstackError


def run_shown(environment: Mapping[str, str] | None, *, csv: Path | None, timeout: float, plain: bool | None) -> int:
    """See :func:`mailwarren.devstack.demo.run`."""
    # No markup and no wrapping: addresses and the words of servers are shown as they are.
    console = Console(markup=False, highlight=False, soft_wrap=True)
    screen = _Screen(console, plain=not console.is_terminal if plain is None else plain)
    try:
        targets = Targets.of(environ if environment is None else environment)
        recipients = read_recipients(csv)
        return asyncio.run(_play(screen, targets, recipients, timeout))
    except DevstackError as error:
        print(f"\n{error}", file=sys.stderr, flush=True)
        return NOT_RUN
    except KeyboardInterrupt:
        print("\nInterrupted. What was accepted is still sent; `make down` stops the system.", file=sys.stderr)
        return INTERRUPTED


class _Screen:
    def __init__(self, console: Console, *, plain: bool) -> None:
        self.console = console
        self.plain = plain

    def say(self, *lines: str, style: str | None = None) -> None:
        for line in lines:
            self.console.print(line, style=style)

    def block(self, lines: Iterable[str]) -> None:
        """Lines with an empty one before them; nothing at all when there are none."""
        if found := list(lines):
            self.say("", *found)


async def _play(screen: _Screen, targets: Targets, recipients: Sequence[Recipient], patience: float) -> int:
    begun = time.monotonic()
    async with driving(targets, recipients, patience) as drive:
        await drive.check()
        screen.block(_opening(recipients, targets))
        async with drive.personas():
            first = await drive.probe()
            screen.say(
                f"==> Row {first.row} went first and reached the sink: mail ends on this machine. Now the others."
            )
            with board(screen.console, plain=screen.plain) as shown:
                in_time = await drive.post_and_wait(shown)
            screen.say("==> Counting: the API's answers, Postgres, the sink, the broker")
            outcome = await drive.account(timed_out=not in_time)
    _report(screen, outcome, targets, time.monotonic() - begun)
    return BALANCED if outcome.ledger.balances and in_time else UNBALANCED


def _opening(recipients: Sequence[Recipient], targets: Targets) -> list[str]:
    lanes = Counter(one.lane for one in recipients)
    domains = {at[2] for one in recipients if (at := one.envelope.rpartition("@"))[1] and at[2][:1] != "["}
    languages = {one.fields["language"] for one in recipients if "language" in one.fields}
    counts = ", ".join(f"{lanes[lane]:,} {lane}" for lane in Lane)
    scale = targets.topology.retry_scale
    lines = [
        f"==> {len(recipients):,} recipients: {counts}; {len(domains)} domains, {len(languages)} languages",
        f"    Retries wait {scale:g} of their usual time (five minutes are {300 * scale:g} s).",
        "==> The sink plays the recipients' mail servers. All take mail at once, except:",
    ]
    return lines + [f"    {domain:<24}{words}" for domain, words, _ in PERSONAS]


def _report(screen: _Screen, outcome: Outcome, targets: Targets, seconds: float) -> None:
    posted, ledger = outcome.posted, outcome.ledger
    screen.block(refused_lines("Rows that the API refused (the header is row 1)", posted.refused))
    screen.block(refused_lines("Rows that the API gave no answer for", posted.unanswered))
    screen.block(finding_lines(ledger))
    screen.block(rate_lines(outcome))
    screen.say(f"The run took {seconds:.1f} s. Its mails have the metadata demo_run = {outcome.run}.")
    screen.block(place_lines(targets))
    if outcome.timed_out:
        screen.block(["TIME IS OVER: deliveries without an end are listed above, under NOT RIGHT."])
    *table, verdict = ledger_lines(ledger)
    screen.block(table)
    screen.say(verdict, style="bold green" if ledger.balances else "bold red")
