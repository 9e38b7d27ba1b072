"""What one cell measured: the record that everything in the report comes from."""

import math
from bisect import bisect_right
from collections.abc import Sequence

import msgspec

from mailwarren.stress.grid import Cell


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds, of all mails that came to an end: no sample."""

    count: int
    mean: float
    p50: float
    p95: float
    p99: float
    most: float


class Outcome(msgspec.Struct, kw_only=True):
    """One cell, measured.

    Args:
        cell: the load.
        began: when, ISO 8601 in UTC.
        seconds: from the first request to the last result committed; of a rival, to its last mail.
        accept_seconds: from the first request to the last answer.
        delivered: mails answered with 250.
        refused: recipients refused for good, and given up.
        open: mails without an end when the load's seconds were over.
        completion: from acceptance to the end of each mail.
        accept: from each request to its answer.
        attempts: mails by how many tries they took.
        sustained: mails a second between the first fifth and the last fifth of the mails.
        cpu: microseconds a mail, by part.
        busy: cores used between a fifth and four fifths of the time, by process.
        machine: cores in use on the whole machine, in the same time; ``stolen``: those that its host kept for others.
        cores: how many it has.
        in_flight: mails in the senders' hands, mean of the same time.
        waiting_only: share of the time in which every open mail was waiting for its next try.
        curve: seconds, mails in the system (from the ledger), messages ready in the send queues (from the broker).
        differences: what does not add up in the ledger; empty is as it should be.
    """

    cell: Cell
    began: str
    seconds: float
    accept_seconds: float
    delivered: int
    refused: int
    open: int = 0
    completion: Spread | None = None
    accept: Spread | None = None
    attempts: dict[str, int] = {}
    sustained: float = 0.0
    cpu: dict[str, float] = {}
    busy: dict[str, float] = {}
    machine: float = 0.0
    stolen: float = 0.0
    cores: int = 1
    in_flight: float = 0.0
    waiting_only: float = 0.0
    curve: list[tuple[float, int, int]] = []
    differences: list[str] = []

    @property
    def ended(self) -> int:
        """Mails that came to an end."""
        return self.delivered + self.refused

    @property
    def rate(self) -> float:
        """Mails a second that came to an end."""
        return self.ended / self.seconds if self.seconds else 0.0

    @property
    def error_share(self) -> float:
        """Of the mails that came to an end, those that were not delivered."""
        return self.refused / self.ended if self.ended else 0.0


def spread(seconds: Sequence[float]) -> Spread | None:
    """Mean and percentiles by nearest rank; None of nothing."""
    if not seconds:
        return None
    ordered = sorted(seconds)

    def rank(share: float) -> float:
        return ordered[max(0, math.ceil(len(ordered) * share) - 1)]

    mean = math.fsum(ordered) / len(ordered)
    return Spread(count=len(ordered), mean=mean, p50=rank(0.5), p95=rank(0.95), p99=rank(0.99), most=ordered[-1])


def sustained(ends: Sequence[float]) -> float:
    """Mails a second between the first and the last fifth of ``ends`` (times); 0 of too few."""
    ordered = sorted(ends)
    first, last = len(ordered) // 5, len(ordered) - len(ordered) // 5 - 1
    took = ordered[last] - ordered[first] if last > first else 0.0
    return (last - first) / took if took > 0 else 0.0


def in_system(begins: Sequence[float], ends: Sequence[float], points: Sequence[float]) -> list[int]:
    """How many mails had begun and not ended, at each of ``points``."""
    started, stopped = sorted(begins), sorted(ends)
    return [_until(started, point) - _until(stopped, point) for point in points]


def _until(ordered: Sequence[float], point: float) -> int:
    return bisect_right(ordered, point)
