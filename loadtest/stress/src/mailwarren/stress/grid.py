"""The cells: which loads are measured, in which order, and how long they should take."""

from collections.abc import Iterator, Sequence
from enum import StrEnum

import msgspec

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.shards import SHARDS

CONNECTIONS = 20
"""Of each sender to the smarthost: the product's default, set all the same so that the report can rely on it."""
IN_FLIGHT = 500
"""Mails that a sender works on at once: the default too."""
SENDERS = (1, 2, 4)
QUEUES = (1, 9, 36)
LATENCIES_MS = (0, 50, 500)
REFUSED = (0.0, 0.05, 0.20)
DEFERRED = 0.20
RETRY_SCALE = 0.01
"""Of the row of temporary refusals: five minutes are three seconds."""
MAILS = 10_000
SECONDS = 60.0
RIVAL_SECONDS = 30.0
QUICK_SECONDS = 8.0
STEADY_SECONDS = 15.0
STEADY_MOST = 300.0
"""Single posts a second of the steady row, or half of what the connections carry if that is less."""
REPEATS = 3
"""Of a load without latency, which is over in two seconds: any pause of the machine is a large part of it."""
_FILLED = 0.9
"""Share of its seconds that a cell's mails take when its connections are always full."""
_FASTEST = 3_500.0
"""Mails a second that are assumed of a cell without latency, to say how long the grid takes."""
_AROUND = 3.0
"""Seconds of a cell beside its load: counting, comparing, waiting until all is quiet."""


class Row(StrEnum):
    """What a cell belongs to."""

    GRID = "grid"
    """All mails at once, some refused for good."""
    TEMPORARY = "temporary"
    """All at once, some refused at first and tried again."""
    STEADY = "steady"
    """Single posts at a rate below what the system carries: how long a mail takes when none waits for another."""
    SMTPLIB = "smtplib"
    TEXTBOOK = "textbook"
    POSTFIX = "postfix"


RIVALS = (Row.SMTPLIB, Row.TEXTBOOK, Row.POSTFIX)


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One load.

    Args:
        row: what it belongs to.
        senders: sender processes of ours; of a rival: loops, worker processes, or times 20 connections of Postfix.
        queues: send queues that the mails are spread over evenly and that every sender consumes; of no rival.
        latency_ms: what the receiver waits before it answers a mail's final dot.
        refused: share of recipients that the receiver refuses for good.
        deferred: share of tries that it refuses for the time being.
        tries: how many tries of each recipient may be deferred.
        mails: how many.
        rate: posts a second; None: all at once, as fast as they are accepted.
        seconds: the load ends at the latest after so long.
        repeats: it is measured so often, and the one with the middle rate counts.
    """

    row: Row
    senders: int
    queues: int = 0
    latency_ms: int = 0
    refused: float = 0.0
    deferred: float = 0.0
    tries: int = 0
    mails: int = MAILS
    rate: float | None = None
    seconds: float = SECONDS
    repeats: int = 1

    @property
    def ident(self) -> str:
        """Names its file; equal for equal loads, whatever their size."""
        parts = [self.row.value, f"s{self.senders}"]
        parts += [f"q{self.queues}"] * bool(self.queues)
        parts += [f"{self.latency_ms}ms", f"r{self.refused * 100:.0f}"]
        parts += [f"d{self.deferred * 100:.0f}x{self.tries}"] * bool(self.tries)
        return "-".join(parts)

    @property
    def is_ours(self) -> bool:
        """Not a rival's."""
        return self.row not in RIVALS

    @property
    def retry_scale(self) -> float:
        """Of the system that it needs."""
        return RETRY_SCALE if self.row is Row.TEMPORARY else 1.0

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """One lane for one queue, all three for more."""
        return (Lane.BULK,) if self.queues == 1 else tuple(Lane)

    @property
    def shards(self) -> tuple[str, ...]:
        """So many that lanes times shards are :attr:`queues`: the hashed ones first, the big providers last."""
        hashed_first = sorted(SHARDS, key=lambda shard: not shard.startswith("h"))
        return tuple(hashed_first[: self.queues // len(self.lanes)])

    @property
    def expected_seconds(self) -> float:
        """A guess for the time left, before anything was measured."""
        if not self.is_ours:
            return self.seconds + 2 * _AROUND
        wait = 10.0 if self.deferred else 0.0
        if self.rate:
            return self.mails / self.rate + _AROUND
        return self.repeats * (self.mails / min(_FASTEST, ceiling(self)) + wait + _AROUND)


def ceiling(cell: Cell) -> float:
    """Mails a second that the connections carry when each is always waiting for an answer; infinite without latency.

    Refused recipients cost no latency: they are refused before any data.
    """
    if not cell.latency_ms:
        return float("inf")
    return cell.senders * CONNECTIONS / (cell.latency_ms / 1000) / (1 - cell.refused)


def cells(*, quick: bool = False) -> list[Cell]:
    """All cells in the order in which they run: systems and sets of senders one after the other, cheap ones first."""
    found = [*_grid(quick=quick), *_steady(quick=quick), *_temporary(quick=quick), *_rivals(quick=quick)]
    return sorted(found, key=lambda cell: (_stand_of(cell), cell.senders, cell.queues, cell.expected_seconds))


def stands(chosen: Sequence[Cell]) -> Iterator[list[Cell]]:
    """The cells that share a system, in order; what needs another retry scale or other servers has one of its own."""
    for number in sorted({_stand_of(cell) for cell in chosen}):
        yield [cell for cell in chosen if _stand_of(cell) == number]


def _stand_of(cell: Cell) -> int:
    if not cell.is_ours:
        return 2
    return 1 if cell.retry_scale != 1.0 else 0


def _sized(cell: Cell) -> Cell:
    """With as many mails as its seconds allow: then none is left at their end, and the percentiles are of all."""
    most = ceiling(cell) * cell.seconds * _FILLED
    return cell if most >= cell.mails else msgspec.structs.replace(cell, mails=int(most))


def _grid(*, quick: bool) -> Iterator[Cell]:
    seconds = QUICK_SECONDS if quick else SECONDS
    for senders in SENDERS:
        for queues in QUEUES:
            for latency in LATENCIES_MS:
                for refused in REFUSED:
                    load = {"senders": senders, "queues": queues, "latency_ms": latency, "refused": refused}
                    repeats = 1 if latency else REPEATS
                    yield _sized(Cell(row=Row.GRID, seconds=seconds, repeats=repeats, **load))  # type: ignore[arg-type]


def _steady(*, quick: bool) -> Iterator[Cell]:
    seconds = QUICK_SECONDS if quick else STEADY_SECONDS
    for senders in SENDERS:
        for latency in LATENCIES_MS:
            cell = Cell(row=Row.STEADY, senders=senders, queues=9, latency_ms=latency, seconds=SECONDS)
            rate = min(STEADY_MOST, ceiling(cell) / 2)
            yield msgspec.structs.replace(cell, rate=rate, mails=int(rate * seconds))


def _temporary(*, quick: bool) -> Iterator[Cell]:
    mails = MAILS // 5 if quick else MAILS
    for senders in SENDERS:
        for tries in (1, 2):
            yield Cell(row=Row.TEMPORARY, senders=senders, queues=9, deferred=DEFERRED, tries=tries, mails=mails)


def _rivals(*, quick: bool) -> Iterator[Cell]:
    """The grid's loads; queues mean nothing to them. QUICK leaves out the refusals."""
    for cell in _grid(quick=quick):
        if cell.queues == QUEUES[0] and not (quick and cell.refused):
            for rival in RIVALS:
                seconds = min(cell.seconds, RIVAL_SECONDS)
                yield msgspec.structs.replace(cell, row=rival, queues=0, seconds=seconds, repeats=1)
