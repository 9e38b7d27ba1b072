"""What must hold over the whole grid, each with its tolerance. Pure."""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from mailwarren.stress.bottleneck import bottleneck
from mailwarren.stress.grid import Row
from mailwarren.stress.result import Outcome

GROWTH = 0.75
"""Of the growth that more senders would bring alone: twice the senders, at least 1.5 times the rate."""
NOISE = 0.75
"""Where a shared resource is full, more senders may not cost more of the rate than this leaves."""
SIGMAS = 4.0
"""How far a share of refusals may be from the one asked for: one cell in 16,000 is farther by chance."""


class Verdict(NamedTuple):
    """One thing that must hold: how often it was looked at, and every time that it did not."""

    name: str
    looked: int
    failures: list[str]

    @property
    def holds(self) -> bool:
        """It was looked at, and held each time."""
        return bool(self.looked) and not self.failures


def verdicts(outcomes: Sequence[Outcome]) -> list[Verdict]:
    """All three; what a partial run says nothing about is left out."""
    found = [ledger(outcomes), shares(outcomes), growth(outcomes)]
    return [one for one in found if one.looked]


def ledger(outcomes: Iterable[Outcome]) -> Verdict:
    """Promises, rows, the receiver's record and the queues agree in every cell of ours."""
    ours = [one for one in outcomes if one.cell.is_ours]
    failures = [f"{one.cell.ident}: {'; '.join(one.differences)}" for one in ours if one.differences]
    return Verdict("The ledger agrees in every cell", len(ours), failures)


def shares(outcomes: Iterable[Outcome]) -> Verdict:
    """Exactly the share that the receiver refused is lost."""
    ours = [one for one in outcomes if one.cell.is_ours and one.ended]
    failures = []
    for one in ours:
        asked = one.cell.refused
        bound = SIGMAS * math.sqrt(asked * (1 - asked) / one.ended)
        if abs(one.error_share - asked) > bound:
            failures.append(f"{one.cell.ident}: {one.error_share:.2%}, asked {asked:.2%} ± {bound:.2%}")
    name = f"Errors are the refusals asked for, within {SIGMAS:.0f} standard deviations of chance"
    return Verdict(name, len(ours), failures)


def growth(outcomes: Iterable[Outcome]) -> Verdict:
    """From one number of senders to the next the rate grows, until something full does not grow with them."""
    failures, looked = [], 0
    for few, many in _steps(outcomes):
        looked += 1
        ratio = many.rate / few.rate if few.rate else math.inf
        at_few, at_many = bottleneck(few), bottleneck(many)
        shared = next((one for one in (at_few, at_many) if one.full and not one.grows), None)
        needed = NOISE if shared else GROWTH * many.cell.senders / few.cell.senders
        if ratio < needed:
            why = f"with {shared.name} full" if shared else f"with {at_many.name}"
            failures.append(f"{few.cell.ident} → s{many.cell.senders}: {ratio:.2f} times, at least {needed:.2f} {why}")
    name = (
        f"Rates grow with senders (twice the senders: at least {2 * GROWTH:g} times) until a shared resource is full "
        f"(then they keep at least {NOISE:.0%})"
    )
    return Verdict(name, looked, failures)


def _steps(outcomes: Iterable[Outcome]) -> Iterator[tuple[Outcome, Outcome]]:
    lines: dict[tuple[int, int, float], list[Outcome]] = {}
    for one in outcomes:
        if one.cell.row is Row.GRID:
            lines.setdefault((one.cell.queues, one.cell.latency_ms, one.cell.refused), []).append(one)
    for line in lines.values():
        yield from pairwise(sorted(line, key=lambda one: one.cell.senders))
