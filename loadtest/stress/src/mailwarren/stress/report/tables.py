"""The report's tables: every cell a line."""

from collections.abc import Sequence

from mailwarren.stress.bottleneck import bottleneck
from mailwarren.stress.grid import Cell, Row
from mailwarren.stress.report.words import NONE, name_of, percent, seconds, table, whole
from mailwarren.stress.result import Outcome

PARTS = ("client", "ingest", "broker", "sender", "postfix", "tracker", "postgres", "sink", "watch")
_TIMES = ["mean", "p50", "p95", "p99"]


def of_row(outcomes: Sequence[Outcome], *rows: Row) -> list[Outcome]:
    """The cells of some rows, in the order of their loads."""
    chosen = [one for one in outcomes if one.cell.row in rows]
    return sorted(chosen, key=lambda one: _order(one.cell))


def _order(cell: Cell) -> tuple[str, int, float, int, int, int]:
    return cell.row.value, cell.latency_ms, cell.refused, cell.tries, cell.queues, cell.senders


def grid(outcomes: Sequence[Outcome]) -> str:
    """Rate, times, errors and bottleneck of each load that comes all at once."""
    head = ["latency", "refusals", "queues", "senders", "mails", "mails/min", *_TIMES, "errors", "µs CPU a mail"]
    rows = [
        [
            f"{one.cell.latency_ms} ms",
            percent(one.cell.refused),
            str(one.cell.queues),
            str(one.cell.senders),
            whole(one.cell.mails),
            whole(one.rate * 60),
            *_times(one),
            percent(one.error_share),
            whole(_cpu(one)),
            _bottleneck(one),
        ]
        for one in of_row(outcomes, Row.GRID)
    ]
    return table([*head, "bottleneck: evidence"], rows, left=0)


def steady(outcomes: Sequence[Outcome]) -> str:
    """How long a mail takes when none waits for another."""
    head = ["latency", "senders", "posts/s", "mails", *_TIMES, "accept p50", "accept p99", "µs CPU a mail"]
    rows = [
        [
            f"{one.cell.latency_ms} ms",
            str(one.cell.senders),
            whole(one.cell.rate or 0),
            whole(one.cell.mails),
            *_times(one),
            seconds(one.accept.p50 if one.accept else None),
            seconds(one.accept.p99 if one.accept else None),
            whole(_cpu(one)),
            _bottleneck(one),
        ]
        for one in of_row(outcomes, Row.STEADY)
    ]
    return table([*head, "bottleneck: evidence"], rows, left=0)


def temporary(outcomes: Sequence[Outcome]) -> str:
    """Refused at first, and tried again."""
    tries = sorted({int(count) for one in outcomes for count in one.attempts if one.cell.row is Row.TEMPORARY})
    taken = [f"{count} {'try' if count == tries[0] else 'tries'}" for count in tries]
    head = ["deferred", "of the first", "senders", "mails", *taken, "mails/min", *_TIMES, "errors"]
    rows = [
        [
            percent(one.cell.deferred),
            f"{one.cell.tries} {'tries' if one.cell.tries > 1 else 'try'}",
            str(one.cell.senders),
            whole(one.cell.mails),
            *(whole(one.attempts.get(str(count), 0)) for count in tries),
            whole(one.rate * 60),
            *_times(one),
            percent(one.error_share),
            _bottleneck(one),
        ]
        for one in of_row(outcomes, Row.TEMPORARY)
    ]
    return table([*head, "bottleneck: evidence"], rows, left=0)


def rivals(outcomes: Sequence[Outcome]) -> str:
    """The same loads, and what is not done when their time is over."""
    head = ["", "latency", "refusals", "workers", "mails", "not done", "mails/min", *_TIMES, "errors", "µs CPU a mail"]
    rows = [
        [
            name_of(one.cell.row),
            f"{one.cell.latency_ms} ms",
            percent(one.cell.refused),
            str(one.cell.senders),
            whole(one.cell.mails),
            whole(one.open),
            whole(one.rate * 60),
            *_times(one),
            percent(one.error_share),
            whole(_cpu(one)),
            _bottleneck(one),
        ]
        for one in of_row(outcomes, Row.SMTPLIB, Row.TEXTBOOK, Row.POSTFIX)
    ]
    return table([*head, "bottleneck: evidence"], rows)


def cpu(outcomes: Sequence[Outcome]) -> str:
    """Microseconds a mail by part, of every cell."""
    head = ["cell", *PARTS, "sum"]
    rows = [
        [
            f"`{one.cell.ident}`",
            # The client's is what a clock of 10 ms says less what a finer one says of the watch: it may fall below 0.
            *(whole(max(0.0, one.cpu[part])) if part in one.cpu else NONE for part in PARTS),
            whole(_cpu(one)),
        ]
        for one in of_row(outcomes, *Row)
    ]
    return table(head, rows)


def _times(one: Outcome) -> list[str]:
    spread = one.completion
    return [seconds(getattr(spread, name)) if spread else NONE for name in _TIMES]


def _cpu(one: Outcome) -> float:
    """Without what watching costs, which is no part of the work."""
    return sum(spent for part, spent in one.cpu.items() if part != "watch")


def _bottleneck(one: Outcome) -> str:
    found = bottleneck(one)
    return f"{found.name}: {found.evidence}"
