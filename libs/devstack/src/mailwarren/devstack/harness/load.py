"""Traffic from a thread of its own, which goes on through whatever a test does to the servers."""

import threading
import time
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

import httpx

from mailwarren.contracts.lanes import Lane
from mailwarren.devstack.harness.counts import Promise
from mailwarren.devstack.harness.system import System


class Traffic(ABC):
    """Calls of the API while it is entered.

    Args:
        system: whose API; a client that replaces ``system.api`` is used from the next call on.
        name: of the thread.
        endless: whether leaving stops it; otherwise leaving waits until it has made all its calls.
    """

    def __init__(self, system: System, name: str, *, endless: bool) -> None:
        if system.api is None:
            raise RuntimeError("start_ingest() comes first")
        self._system = system
        self._endless = endless
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name)
        self._broken: Exception | None = None
        self.promises: list[Promise] = []

    @property
    def accepted(self) -> int:
        """Deliveries promised so far."""
        return len(self.promises)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._endless or error is not None:
            self._stop.set()
        self._thread.join()
        if error is None:
            self.check()

    def check(self) -> None:
        """Raises what ended the traffic, if something did."""
        if self._broken is not None:
            raise self._broken

    @abstractmethod
    def _make_calls(self) -> None:
        """Until there are no more, or ``_stop`` is set."""

    def _run(self) -> None:
        try:
            self._make_calls()
        except (httpx.HTTPError, TimeoutError) as error:
            self._broken = error


class Load(Traffic):
    """Bulk calls at a steady pace. A call without a yes is not repeated, and is no promise.

    Args:
        system: as of :class:`Traffic`.
        every: seconds from one call to the next, if the answer is there by then.
        recipients: of each call, in 30 domains.
    """

    def __init__(self, system: System, *, every: float, recipients: int, lane: Lane = Lane.BULK) -> None:
        super().__init__(system, "load", endless=True)
        self._every = every
        self._recipients = recipients
        self._lane = lane
        self.refused = 0
        """Calls, or recipients of one, that got no yes: 503, or a lost connection."""
        self.unanswered: set[str] = set()
        """Addresses of which nobody said yes or no: they may be sent mail all the same."""
        self.longest = 0.0
        """Seconds that a call took, at most."""

    def _make_calls(self) -> None:
        number = 0
        while not self._stop.is_set():
            begin = time.monotonic()
            addresses = [f"load{number + n}@d{n % 30}.test" for n in range(self._recipients)]
            number += self._recipients
            try:
                self._post(addresses)
            except httpx.TransportError:
                self._miss(addresses)
            except httpx.HTTPStatusError as error:
                if error.response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                    raise
                self._miss(addresses)
            spent = time.monotonic() - begin
            self.longest = max(self.longest, spent)
            self._stop.wait(max(0.0, self._every - spent))

    def _post(self, addresses: list[str]) -> None:
        promises = self._system.send_bulk(addresses, lane=self._lane)
        self.promises += promises
        if missing := set(addresses) - {promise.address for promise in promises}:
            self._miss(list(missing))

    def _miss(self, addresses: list[str]) -> None:
        self.refused += 1
        self.unanswered |= set(addresses)
