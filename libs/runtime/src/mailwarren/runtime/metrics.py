"""What every service says of itself to Prometheus, whatever it does."""

import time
from collections.abc import Mapping

from prometheus_client import Gauge, disable_created_metrics

# When each counter and histogram was made: as many series again as there are counters, and nobody asks for them.
disable_created_metrics()  # type: ignore[no-untyped-call]

LAG_KEPT = 60
"""Seconds for which a lag is shown: longer than between two scrapes, or most would be missed."""

_info = Gauge("mailwarren_service_info", "1, for each process, with the service that it is", ["component"])
_clock = Gauge(
    "mailwarren_service_clock_seconds",
    "The process's clock in Unix seconds when it was scraped: compare it with the sample's own time",
)
_clock.set_function(time.time)
_checks = Gauge("mailwarren_service_check", "1 where a check of /readyz holds, 0 where it does not", ["check"])
_loop_age = Gauge(
    "mailwarren_service_loop_age_seconds", "Since a loop of the process last turned; it does every second", ["loop"]
)
_loop_lag = Gauge(
    "mailwarren_service_loop_lag_seconds", "The most that a loop came too late to a timer in the last minute", ["loop"]
)


def record_service(name: str) -> None:
    """This process is ``ingest``, ``sender``, ``tracker`` …, and no other."""
    _info.labels(name).set(1)


def record_checks(checks: Mapping[str, bool]) -> None:
    """What ``/readyz`` finds."""
    for name, holds in checks.items():
        _checks.labels(name).set(holds)


class _Loop:
    """What is known of a loop; written by its thread, read by that of the metrics port."""

    def __init__(self, name: str) -> None:
        self.beat_at = time.monotonic()
        self.lags: list[tuple[int, float]] = []
        """Of each second the longest; empty for a loop whose lag nobody measures."""
        _loop_age.labels(name).set_function(lambda: time.monotonic() - self.beat_at)

    def late(self, name: str, seconds: float) -> None:
        if not self.lags:
            self.lags = [(0, 0.0)] * LAG_KEPT
            _loop_lag.labels(name).set_function(self._longest)
        second = int(self.beat_at)
        known, longest = self.lags[second % LAG_KEPT]
        self.lags[second % LAG_KEPT] = second, max(seconds, longest if known == second else 0.0)

    def _longest(self) -> float:
        since = int(time.monotonic()) - LAG_KEPT
        return max(lag if second > since else 0.0 for second, lag in self.lags)


_loops: dict[str, _Loop] = {}


def record_beat(loop: str) -> None:
    """``loop`` turns."""
    known = _loops.get(loop)
    if known is None:
        known = _loops[loop] = _Loop(loop)
    known.beat_at = time.monotonic()


def record_lag(loop: str, seconds: float) -> None:
    """``loop`` turns, and came so late to a timer."""
    record_beat(loop)
    _loops[loop].late(loop, seconds)
