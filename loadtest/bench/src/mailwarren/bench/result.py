"""One line of the table."""

from collections.abc import Sequence

import msgspec


class Result(msgspec.Struct, kw_only=True):
    """What one run measured. Rates are mails for each second, latencies seconds, CPU microseconds for each mail."""

    name: str
    mails: int
    seconds: float
    """From the first request to the last result committed."""
    cpu: dict[str, float] = {}
    """By process group: client, ingest, broker, sender, tracker, postgres, sink."""
    latency: dict[str, float] = {}
    """``p50``, ``p95``, ``p99`` of whatever the run asks for: accept, or accept to delivery."""
    notes: dict[str, float] = {}

    @property
    def rate(self) -> float:
        """Mails a second."""
        return self.mails / self.seconds if self.seconds else 0.0


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99 by nearest rank; empty for no values."""
    ordered = sorted(values)
    if not ordered:
        return {}
    return {f"p{q}": ordered[min(len(ordered) - 1, max(0, -(-len(ordered) * q // 100) - 1))] for q in (50, 95, 99)}
