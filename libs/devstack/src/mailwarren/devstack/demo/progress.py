"""How far the run is: bars where somebody watches, a line every two seconds elsewhere."""

import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column
from rich.text import Text

from mailwarren.contracts.lanes import Lane
from mailwarren.store.states import State

_LINE_EVERY = 2.0
_WINDOW = 10.0
"""Seconds over which the present rate is taken."""


@dataclass(slots=True)
class LaneTally:
    """A lane now: rows of the CSV, rows that the API answered (``accepted`` of them with yes), ends, and states."""

    rows: int = 0
    answered: int = 0
    accepted: int = 0
    ended: int = 0
    states: Counter[str] = field(default_factory=Counter)

    @property
    def words(self) -> str:
        """The states, the most interesting first."""
        order = [State.DELIVERED, State.DEFERRED, *(state for state in State)]
        known = {state.value: self.states[state] for state in order if self.states[state]}
        return "  ".join(f"{name} {count:,}" for name, count in known.items() if name != State.ACCEPTED)


Tally = dict[Lane, LaneTally]


class Board(Protocol):
    """Shows tallies."""

    def show(self, tally: Tally) -> None:
        """Called about twice a second."""


class Pace:
    """The present rate of something that only grows, and what is left of it at that rate."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def see(self, count: int, at: float) -> float:
        """Note a count at a time (seconds); returns the rate per second over the last ten seconds."""
        self._seen.append((at, count))
        while at - self._seen[0][0] > _WINDOW:
            self._seen.popleft()
        since, before = self._seen[0]
        return (count - before) / (at - since) if at > since else 0.0


def eta(left: int, rate: float) -> str:
    """Words for the time that is left."""
    if not left:
        return "done"
    return f"{left / rate:.0f} s left" if rate >= 1 else "waiting"


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._begun = time.monotonic()
        self._next = 0.0
        self._pace = Pace()

    def show(self, tally: Tally) -> None:
        now = time.monotonic()
        ended = sum(lane.ended for lane in tally.values())
        rate = self._pace.see(ended, now)
        left = sum(lane.rows - (lane.answered - lane.accepted) for lane in tally.values()) - ended
        if now < self._next and left:
            return
        self._next = now + _LINE_EVERY
        lanes = [f"{name}: accepted {lane.accepted:,}/{lane.rows:,}  {lane.words}" for name, lane in tally.items()]
        passed = f"{now - self._begun:4.0f} s"
        self._console.print(f"{passed}  {' | '.join(lanes)} | {rate:,.0f} ends/s, {eta(left, rate)}")


class _Bars:
    def __init__(self, bars: Progress, words: Text) -> None:
        self._bars = bars
        self._words = words
        self._paces = {(lane, what): Pace() for lane in Lane for what in ("accepted", "ended")}
        self._tasks = {
            (lane, what): bars.add_task(f"{lane} {what}", total=0, rate="", left="")
            for lane in Lane
            for what in ("accepted", "ended")
        }

    def show(self, tally: Tally) -> None:
        for lane, counts in tally.items():
            total = counts.rows - (counts.answered - counts.accepted)
            self._update(lane, "accepted", counts.accepted, total)
            self._update(lane, "ended", counts.ended, total)
        self._words.plain = "\n".join(f"{lane:<7}{counts.words}" for lane, counts in tally.items())

    def _update(self, lane: Lane, what: str, count: int, total: int) -> None:
        rate = self._paces[lane, what].see(count, time.monotonic())
        left = eta(total - count, rate)
        self._bars.update(self._tasks[lane, what], completed=count, total=total, rate=f"{rate:,.0f}/s", left=left)


@contextmanager
def board(console: Console, *, plain: bool) -> Iterator[Board]:
    """Show progress while the body runs."""
    if plain:
        yield _Lines(console)
        return
    cells = (
        "{task.description:<15}",
        "{task.completed:>6,.0f}/{task.total:,.0f}",
        "{task.fields[rate]:>8}",
        "{task.fields[left]:>10}",
    )
    name, *numbers = (TextColumn(cell, table_column=Column(no_wrap=True)) for cell in cells)
    bars = Progress(name, BarColumn(bar_width=16), *numbers, console=console)
    words = Text(no_wrap=True, overflow="ellipsis")
    with Live(Group(bars, words), console=console, refresh_per_second=4):
        yield _Bars(bars, words)
