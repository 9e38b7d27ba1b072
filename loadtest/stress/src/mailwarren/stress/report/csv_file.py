"""The cells as CSV, a line each, for other people's tools."""

import csv
from collections.abc import Sequence
from io import StringIO

from mailwarren.stress.bottleneck import bottleneck
from mailwarren.stress.grid import Row
from mailwarren.stress.report.tables import PARTS, of_row
from mailwarren.stress.result import Outcome


def text(outcomes: Sequence[Outcome]) -> str:
    """Seconds, mails and microseconds, unrounded."""
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    times = ("mean", "p50", "p95", "p99", "most")
    load = ("row", "senders", "queues", "latency_ms", "refused", "deferred", "tries", "mails", "rate")
    result = ("seconds", "accept_seconds", "delivered", "refused", "open", "sustained", "machine", "stolen", "cores")
    writer.writerow(
        [
            *("cell", "began"),
            *load,
            *(f"{name}_measured" if name in load else name for name in result),
            "mails_per_minute",
            "error_share",
            *(f"completion_{name}" for name in times),
            *(f"cpu_us_{part}" for part in PARTS),
            "bottleneck",
            "bottleneck_full",
            "evidence",
            "ledger_differences",
        ]
    )
    for one in of_row(outcomes, *Row):
        found, spread = bottleneck(one), one.completion
        writer.writerow(
            [
                *(one.cell.ident, one.began),
                *(getattr(one.cell, name) for name in load),
                *(getattr(one, name) for name in result),
                one.rate * 60,
                one.error_share,
                *(getattr(spread, name) if spread else "" for name in times),
                *(one.cpu.get(part, "") for part in PARTS),
                found.name,
                found.full,
                found.evidence,
                "; ".join(one.differences),
            ]
        )
    return out.getvalue()
