"""Asks all workers who is there, and tells Flower: senders say nothing by themselves."""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import structlog

from mailwarren.runtime.reasons import broker_trouble

log = structlog.get_logger()

ANSWER_WITHIN = 1.0
"""Seconds that workers have for their answer."""


class Board(Protocol):
    """What Flower has to be told; both may be called from any thread."""

    def seen(self, event: dict[str, Any]) -> None:
        """An event, as a worker would have sent it."""

    def look_at(self, worker: str) -> None:
        """Ask a worker for its queues and statistics."""


class RollCall:
    """One question to all workers every ``interval`` seconds, in a thread of its own.

    Args:
        ask: returns the names of the workers that answered; may raise whatever the broker does to it.
        board: Flower.
        url: of the broker, for the words in which trouble is told.
        interval: seconds.
    """

    def __init__(self, ask: Callable[[], Iterable[str]], board: Board, url: str, interval: float) -> None:
        self._ask = ask
        self._board = board
        self._url = url
        self._interval = interval
        self._known: set[str] = set()
        self._stop = threading.Event()
        self.trouble: str | None = "nobody was asked yet"
        """Why the last call was not made; None when it was, whoever answered."""

    def start(self) -> None:
        """Call until :meth:`stop`."""
        threading.Thread(target=self._run, name="rollcall", daemon=True).start()

    def stop(self) -> None:
        """No other call."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            self.call()
            self._stop.wait(self._interval)

    def call(self) -> None:
        """Ask once."""
        try:
            present = set(self._ask())
        except Exception as error:  # noqa: BLE001 - any trouble with the broker means the same here
            self.trouble = broker_trouble(error, self._url)
            log.warning("flower.rollcall.failed", why=self.trouble)
            return
        self.trouble = None
        for name in sorted(present):
            self._board.seen(heartbeat(name, time.time(), self._interval))
            if name not in self._known:
                self._board.look_at(name)
        self._known = present


def heartbeat(worker: str, now: float, interval: float) -> dict[str, Any]:
    """The event of a worker that is there. Flower takes it for offline after twice ``freq``."""
    return {
        "type": "worker-heartbeat",
        "hostname": worker,
        "timestamp": now,
        "local_received": now,
        "utcoffset": 0,
        "clock": 0,
        "freq": interval,
    }
