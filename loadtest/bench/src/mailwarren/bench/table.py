"""The results for people: one table, then what was asked for and whether it holds."""

from collections.abc import Sequence

from mailwarren.bench.check import Check
from mailwarren.bench.result import Result
from mailwarren.bench.rivals import Missing

PARTS = ("client", "ingest", "broker", "sender", "tracker", "postgres", "sink")


def table(results: Sequence[Result | Missing]) -> str:
    """Rates in mails a second, latencies in milliseconds, CPU in microseconds a mail."""
    head = ["run", "mails", "mails/s", "p50", "p95", "p99", *PARTS, "sum"]
    rows = [_row(one) if isinstance(one, Result) else [one.name, one.why] for one in results]
    widths = [max(len(row[n]) for row in [head, *rows] if len(row) == len(head)) for n in range(len(head))]
    widths[0] = max(len(row[0]) for row in [head, *rows])
    return "\n".join(_line(row, widths) for row in [head, *rows])


def verdicts(checks: Sequence[Check]) -> str:
    """One line for each check."""
    return "\n".join(f"{'holds ' if one.holds else 'FAILS '} {one.text}" for one in checks)


def _row(one: Result) -> list[str]:
    latency = [f"{one.latency[q] * 1000:.0f}" if q in one.latency else "" for q in ("p50", "p95", "p99")]
    parts = [f"{one.cpu[part]:.0f}" if part in one.cpu else "" for part in PARTS]
    total = f"{sum(one.cpu.values()):.0f}" if one.cpu else ""
    return [one.name, f"{one.mails:,}", f"{one.rate:,.0f}", *latency, *parts, total]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    if len(row) < len(widths):
        return f"{row[0]:<{widths[0]}}  {row[1]}"
    numbers = [f"{one:>{width}}" for one, width in zip(row[1:], widths[1:], strict=True)]
    return "  ".join([f"{row[0]:<{widths[0]}}", *numbers])
