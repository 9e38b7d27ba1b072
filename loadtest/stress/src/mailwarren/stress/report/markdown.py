"""The page: head, answers, what must hold, plots, tables, and how it was measured."""

from collections.abc import Mapping, Sequence

from mailwarren.stress.bottleneck import FULL, disturbed
from mailwarren.stress.grid import (
    CONNECTIONS,
    IN_FLIGHT,
    MAILS,
    RETRY_SCALE,
    RIVALS,
    STEADY_MOST,
    Row,
)
from mailwarren.stress.machine import Run
from mailwarren.stress.report import tables
from mailwarren.stress.report.answers import answers
from mailwarren.stress.report.words import NONE, percent, table, whole
from mailwarren.stress.result import Outcome
from mailwarren.stress.verdicts import SIGMAS, verdicts
from mailwarren.stress.watch import EVERY

_SECTIONS = (
    ("All mails at once", tables.grid, (Row.GRID,)),
    ("One by one, below what the system carries", tables.steady, (Row.STEADY,)),
    ("Refused for the time being", tables.temporary, (Row.TEMPORARY,)),
    ("The rivals", tables.rivals, (Row.SMTPLIB, Row.TEXTBOOK, Row.POSTFIX)),
    ("CPU by part, microseconds a mail", tables.cpu, tuple(Row)),
)


def page(run: Run, outcomes: Sequence[Outcome], plots: Mapping[str, str], *, planned: int) -> str:
    """The whole report.

    Args:
        run: machine, versions, date, command.
        outcomes: the cells.
        plots: files beside the page, and what they show.
        planned: how many cells the whole run has.
    """
    parts = [
        "# Stress curves",
        "<!-- Made by `make stress`: every number is computed from cells.jsonl, which lies beside this page. -->",
        _head(run, outcomes, planned),
        "## Answers",
        answers(outcomes),
        "## What must hold",
        _verdicts(outcomes),
        "## Curves",
        "\n\n".join(f"![{shows}]({name})" for name, shows in plots.items()),
    ]
    for title, make, rows in _SECTIONS:
        if tables.of_row(outcomes, *rows):
            parts += [f"## {title}", make(outcomes)]
    return "\n\n".join([*parts, "## How it is measured", _method(outcomes)]) + "\n"


def _head(run: Run, outcomes: Sequence[Outcome], planned: int) -> str:
    rows = [
        ["date", run.began],
        ["command", f"`{run.command}`" + " (the short grid)" * run.quick],
        ["cells", f"{len(outcomes)} of {planned}" + ("" if len(outcomes) == planned else ": **a partial report**")],
        *([name, value] for name, value in run.machine.items()),
        ["versions", ", ".join(f"{name} {value}" for name, value in run.versions.items())],
        ["commit", f"`{run.commit}`"],
    ]
    noisy = [one for one in outcomes if disturbed(one)]
    if noisy:
        others = "processes that are no part of the measurement used the machine too"
        rows.append(
            ["disturbed", f"in {len(noisy)} of {len(outcomes)} cells {others}: read their rates as lower bounds"]
        )
    return table(["measured", "on"], rows, left=len(rows[0]))


def _verdicts(outcomes: Sequence[Outcome]) -> str:
    lines = []
    for one in verdicts(outcomes):
        lines.append(f"- **{'PASS' if one.holds else 'FAIL'}** {one.name}: {one.looked} looked at.")
        lines += [f"  - {failure}" for failure in one.failures]
    return "\n".join(lines)


def _method(outcomes: Sequence[Outcome]) -> str:
    longest = _longest(outcomes)
    return f"""\
Client, API, broker, senders, tracker, database and the receiver run on the one machine and share its cores. A cell is
one load: {whole(MAILS)} mails of about the same size (a template with text and HTML), or as many as its connections
carry in {longest[Row.GRID]} s when that is less, so that the percentiles are of all mails and none is cut off. What is
open when a cell's time is over is counted as open, and then answered without latency. Mails are posted in bulk calls
as fast as the API accepts them, small enough that every sender gets parcels of every queue; in the steady cells one by
one for {longest[Row.STEADY]} s, at half of what the connections carry and at most {whole(STEADY_MOST)} a second.
Senders are processes, each with {CONNECTIONS} connections and at most {IN_FLIGHT} mails in flight; every sender
consumes all of the cell's queues, and the mails are spread over exactly these queues. Latency is what the receiver
waits before it answers a mail's final dot. Refusals for good are answers to RCPT; a refused address is on nobody's
list before. {_repeats(outcomes)}The system is warm between cells; senders start anew with each number of senders or
queues.

- **Completion** is the ledger's: from the acceptance of each mail to the answer that ended it. With all mails at once
  it is mostly the wait behind the others; the steady cells show it without.
- **mails/min** counts from the first request to the last mail's end.
- **Errors** are mails that ended without being delivered, of all that ended. They must be what the receiver refused,
  within {SIGMAS:g} standard deviations.
- **The ledger agrees** when the ids in the API's answers, the rows by state, the receiver's record by (Message-ID,
  recipient), its answers by code, and empty queues say the same; nothing came twice.
- **CPU** is the kernel's count by process, children included, for the whole cell; `watch` is what sampling costs
  ({1 / EVERY:g} times a second: queue depths by passive declare, CPU, rows). Cores in use are of the middle three
  fifths of a load.
- **Bottleneck**: connections when {percent(FULL)} of them wait for an answer at any time (rate times latency); the
  wait for the next try; the machine's CPU when {percent(FULL)} of it is in use; one core of a process that can use
  only one; otherwise what is nearest to full. The first that fits is named, with its evidence.
- **Depth** is mails accepted and without an end, from the ledger; `curve` in cells.jsonl has the messages that were
  ready in the send queues beside it. Senders prefetch, so ready is often none while mails wait.
- **Temporary refusals** run with all waits times {RETRY_SCALE:g}.
- **Rivals** get the same mails for {longest[Row.SMTPLIB]} s at most: loops of smtplib with a connection each, the
  textbook's worker with as many processes, Postfix with {CONNECTIONS} connections for each worker. Their times are
  the receiver's, of the mails they delivered. The textbook takes a refusal for good as a reason to try again a minute
  later, so such mails are not done."""


def _repeats(outcomes: Sequence[Outcome]) -> str:
    most = max(one.cell.repeats for one in outcomes)
    if most == 1:
        return ""
    return f"Loads without latency are measured {most} times, and the middle rate counts, with every ledger. "


def _longest(outcomes: Sequence[Outcome]) -> dict[Row, str]:
    """Seconds that the loads of a row may take, as words; a dash for rows that are not there."""
    found = dict.fromkeys(Row, NONE)
    for row in Row:
        cells = [one.cell for one in outcomes if one.cell.row is row]
        if cells:
            found[row] = whole(max(cell.mails / cell.rate if cell.rate else cell.seconds for cell in cells))
    theirs = [found[row] for row in RIVALS if found[row] != NONE]
    return found | dict.fromkeys(RIVALS, theirs[0] if theirs else NONE)
