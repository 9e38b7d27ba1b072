"""How far the run is: a line every two seconds, and the same numbers for Prometheus and for the summary."""

import sys
import time
from typing import Any

import gevent

from mailwarren.load.ledger import Writer
from mailwarren.load.metrics import Entry, Snapshot, Source
from mailwarren.load.plan import Plan
from mailwarren.load.words import clock, progress_line

EVERY = 2.0


class Progress(Source):
    """Over Locust's runner.

    Args:
        runner: Locust's.
        writer: of the ledger.
        plan: of the run.
    """

    def __init__(self, runner: Any, writer: Writer, plan: Plan) -> None:
        self._runner = runner
        self._writer = writer
        self._plan = plan
        self._begun = time.monotonic()
        self._showing: Any = None

    def start(self) -> None:
        """The users begin."""
        self._begun = time.monotonic()
        if self._showing is None:
            self._showing = gevent.spawn(self._show)

    def stop(self) -> None:
        """No more lines."""
        if self._showing is not None:
            self._showing.kill()
            self._showing = None

    def snapshot(self) -> Snapshot:
        """The numbers now."""
        entries = [
            Entry(
                entry.method or "",
                entry.name,
                entry.num_requests,
                entry.num_failures,
                entry.total_response_time / 1000,
                dict(entry.response_times),
            )
            for entry in list(self._runner.stats.entries.values())
        ]
        workers = len(getattr(self._runner, "clients", ()))
        return Snapshot(entries, self._runner.user_count, workers, self._writer.accepted, self._writer.unanswered)

    def summary(self, exit_code: int) -> dict[str, Any]:
        """For the process that started Locust."""
        now = self.snapshot()
        return {
            "exit_code": exit_code,
            "seconds": round(time.monotonic() - self._begun, 3),
            "accepted": now.accepted,
            "unanswered": now.unanswered,
            "entries": [[one.type, one.name, one.requests, one.failures] for one in now.entries],
        }

    def _show(self) -> None:
        before, then = 0, self._begun
        while True:
            gevent.sleep(EVERY)
            now, snapshot = time.monotonic(), self.snapshot()
            rate = (snapshot.accepted - before) / (now - then)
            before, then = snapshot.accepted, now
            left = None if self._plan.seconds == 0 else max(0.0, self._plan.seconds - (now - self._begun))
            print(f"{clock(now - self._begun)}  {progress_line(snapshot, rate, left)}", file=sys.stdout, flush=True)
