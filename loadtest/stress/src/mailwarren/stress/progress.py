"""What a person sees while the grid runs: which cell, how far, and when all will be done."""

import sys
import time
from collections.abc import Sequence

from mailwarren.stress.bottleneck import bottleneck
from mailwarren.stress.grid import Cell
from mailwarren.stress.result import Outcome

_QUIET_SECONDS = 10.0
"""Between two lines about the same cell where nobody watches a terminal."""
_LIVE_SECONDS = 0.5


def clock(seconds: float) -> str:
    """``1 h 05 min``, ``12 min`` or ``40 s``."""
    minutes = round(seconds / 60)
    if minutes >= 60:  # noqa: PLR2004 - minutes of an hour
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min" if minutes > 1 else f"{seconds:.0f} s"


def title(cell: Cell) -> str:
    """A load in words."""
    parts = [f"{cell.row.value} with {cell.senders}", f"{cell.latency_ms} ms", f"{cell.refused:.0%} refused"]
    parts[1:1] = [f"{cell.queues} queue{'s' * (cell.queues > 1)}"] * bool(cell.queues)
    parts += [f"{cell.deferred:.0%} deferred, of the first {cell.tries}"] * bool(cell.tries)
    if cell.rate:
        parts.append(f"{cell.rate:.0f} posts/s")
    return ", ".join(parts)


class Progress:
    """Lines for people on standard error, so that standard output stays the report's.

    Args:
        planned: all cells of the run.
        done: how many of them were measured before.
    """

    def __init__(self, planned: Sequence[Cell], done: Sequence[Cell] = ()) -> None:
        known = {cell.ident for cell in done}
        self._all = len(planned)
        self._left = {cell.ident: cell.expected_seconds for cell in planned if cell.ident not in known}
        self._expected = self._took = 0.0
        self._live = sys.stderr.isatty()
        self._cell: Cell | None = None
        self._began = self._said = 0.0

    @property
    def left_seconds(self) -> float:
        """Until the last cell is done, corrected by how wrong the guesses were so far."""
        pace = self._took / self._expected if self._expected else 1.0
        return sum(self._left.values()) * pace

    def begin(self, cell: Cell) -> None:
        """A cell starts."""
        self._cell, self._began, self._said = cell, time.monotonic(), time.monotonic()

    def within(self, done: int, mails: int) -> None:
        """So many of the cell's mails have their end."""
        now = time.monotonic()
        if self._cell is None or now - self._said < (_LIVE_SECONDS if self._live else _QUIET_SECONDS):
            return
        self._said = now
        far = f"{done:,} of {mails:,} mails, {now - self._began:.0f} s"
        text = f"{self._place(1)} {title(self._cell)}: {far}; {self._rest()}"
        print(f"\r{text}\x1b[K" if self._live else text, end="" if self._live else "\n", file=sys.stderr, flush=True)

    def end(self, outcome: Outcome) -> None:
        """A cell is done."""
        cell = outcome.cell
        self._expected += self._left.pop(cell.ident, 0.0)
        self._took += time.monotonic() - self._began
        verdict = "; ".join(outcome.differences) or bottleneck(outcome).name
        p95 = f"{outcome.completion.p95:.2f} s" if outcome.completion else "-"
        line = (
            f"{self._place(0)} {title(cell)}: {outcome.rate * 60:,.0f} a minute, p95 {p95}, {verdict}; {self._rest()}"
        )
        self.say(line)

    def skip(self, cell: Cell, why: str) -> None:
        """A cell cannot be measured here."""
        self._left.pop(cell.ident, None)
        self.say(f"{self._place(0)} {title(cell)}: not measured: {why}")

    def say(self, line: str) -> None:
        """A line of its own."""
        print(f"\r{line}\x1b[K" if self._live else line, file=sys.stderr, flush=True)

    def _place(self, ahead: int) -> str:
        return f"[{self._all - len(self._left) + ahead}/{self._all}]"

    def _rest(self) -> str:
        return f"{clock(self.left_seconds)} left" if self._left else "done"
