"""The report in words and columns. Pure: from an outcome to lines."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from mailwarren.contracts.lanes import Lane
from mailwarren.devstack.demo.drive import Outcome
from mailwarren.devstack.demo.ledger import ENDS, Finding, LaneCounts, Ledger
from mailwarren.devstack.demo.posting import Refused
from mailwarren.devstack.demo.targets import Targets
from mailwarren.store.states import State

SHOWN = 10
"""Findings of a kind that are listed."""

_COLUMNS: tuple[tuple[str, str, Callable[[LaneCounts], int]], ...] = (
    ("", "accepted", lambda line: line.accepted),
    *(("", state.value, lambda line, state=state: line.states[state]) for state in ENDS),
    ("in", "broker", lambda line: line.in_broker),
    ("at", "sink", lambda line: line.at_sink),
    ("dupli-", "cates", lambda line: line.duplicates),
    ("", "lost", lambda line: line.lost),
)


def ledger_lines(ledger: Ledger) -> list[str]:
    """The table by lane and the verdict: the demo's last lines."""
    lines = {lane.value: ledger.lanes[lane] for lane in Lane} | {"all": ledger.total}
    body = [[name, *(f"{count(line):,}" for _, _, count in _COLUMNS)] for name, line in lines.items()]
    heads = [["", *(upper for upper, _, _ in _COLUMNS)], ["lane", *(lower for _, lower, _ in _COLUMNS)]]
    return [*_table([*heads, *body]), ledger.verdict]


def rate_lines(outcome: Outcome) -> list[str]:
    """How fast it was, by lane and for all."""
    rows = [["lane", "accepted in", "accepted/s", "delivered: half in", "95 % in", "last result after"]]
    for lane in Lane:
        if (span := outcome.posted.spans.get(lane)) is None:
            continue
        count, times = outcome.ledger.lanes[lane].accepted, outcome.times.get(lane)
        seconds = max(span[1] - span[0], 1e-3)
        cells = [lane.value, f"{seconds:.2f} s", f"{count / seconds:,.0f}"]
        cells += [_seconds(times.median if times else None), _seconds(times.most if times else None)]
        rows.append([*cells, _seconds(times.last - span[0] if times and times.last else None)])
    return [*_table(rows), *_overall(outcome)]


def _overall(outcome: Outcome) -> Iterator[str]:
    spans = outcome.posted.spans.values()
    lasts = [times.last for times in outcome.times.values() if times.last]
    if not spans or not lasts:
        return
    first, answered = min(begun for begun, _ in spans), max(ended for _, ended in spans)
    count = outcome.ledger.total.accepted
    delivered = outcome.ledger.total.states[State.DELIVERED]
    posting, everything = max(answered - first, 1e-3), max(max(lasts) - first, 1e-3)
    yield f"Accepted {count:,} in {posting:.1f} s: {count / posting:,.0f} mails/s."
    yield (
        f"First call to last result {everything:.1f} s: {count / everything:,.0f} mails/s, "
        f"{delivered / everything:,.0f} delivered/s; the last ones are those that were retried until they expired."
    )
    if outcome.repeats:
        yield f"{outcome.repeats:,} calls were made again, with the same Idempotency-Key, because the API said 503."


def refused_lines(title: str, refused: Sequence[Refused]) -> list[str]:
    """Rows of the CSV that were not taken, with the API's words; nothing when there are none."""
    if not refused:
        return []
    ordered = sorted(refused, key=lambda one: one.row)
    lines = [f"  row {one.row:>5} ({one.lane}): {_one_line(one.message)}" for one in ordered[: 2 * SHOWN]]
    return [f"{title}: {len(refused):,}", *lines, *_more(len(refused), 2 * SHOWN)]


def finding_lines(ledger: Ledger) -> list[str]:
    """Every kind of fault with up to ten mails, and what is peculiar but right."""
    lines: list[str] = []
    for fault, found in ledger.faults.items():
        lines += _listed(f"NOT RIGHT: {len(found):,} {fault}", found)
    lines += _listed(f"Duplicates, answered with 250 each: {ledger.total.duplicates:,}", ledger.duplicates)
    lines += _listed(
        "Copies whose final dot got no answer (the script drops some answers, a lost connection all it carries): "
        f"{len(ledger.unanswered):,}",
        ledger.unanswered,
    )
    return lines


def place_lines(targets: Targets) -> list[str]:
    """What is still running, and where."""
    places = [
        ("API documentation", f"{targets.site}/docs"),
        ("Metrics of the API", f"{targets.site}/metrics"),
        ("Mails at the sink", f"{targets.sink_url}/"),
    ]
    if targets.management:
        places.append(("RabbitMQ", f"{targets.management[0]}/  (user and password: MAILWARREN_AMQP_URL)"))
    return ["Still running:", *(f"  {name:<20}{url}" for name, url in places)]


def _listed(title: str, found: Sequence[Finding]) -> list[str]:
    if not found:
        return []
    lines = [f"  {'' if one.lane is None else f'{one.lane}: '}{one.subject}: {one.detail}" for one in found[:SHOWN]]
    return [title, *map(_one_line, lines), *_more(len(found), SHOWN)]


def _more(count: int, shown: int) -> list[str]:
    return [f"  … and {count - shown:,} more"] if count > shown else []


def _one_line(text: str) -> str:
    return text.rstrip().replace("\r", "\\r").replace("\n", "\\n")


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def _table(rows: Iterable[Sequence[str]]) -> list[str]:
    """Columns as wide as they need: the first to the left, the others to the right."""
    rows = list(rows)
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return lines
