"""Hosts whose TLS is broken, remembered for a time, so that not every connection finds out anew and waits for it."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from mailwarren.sender.smtp.site import Host
from mailwarren.sender.smtp.tlsproblem import TlsProblem

HOLD = 3600.0
"""Seconds that a host is spoken to in the clear after its handshake broke. Whoever can break one handshake could read
along for so long: it is a time in which a handshake that takes 30 s to fail is worth sparing, and no more."""
REMEMBERED = 10_000
"""Hosts; those that broke first are forgotten first."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A host whose TLS broke: why, and until when that is remembered (Unix time)."""

    host: str
    problem: TlsProblem
    until: float


class BrokenTls:
    """The memory of one process. It is asked only where TLS is opportunistic.

    Args:
        hold: Seconds.
        clock: Unix time.
    """

    def __init__(self, hold: float = HOLD, clock: Callable[[], float] = time.time) -> None:
        self._hold = hold
        self._clock = clock
        self._hosts: OrderedDict[Host, Broken] = OrderedDict()

    def __len__(self) -> int:
        """How many hosts are spoken to in the clear."""
        self._forget()
        return len(self._hosts)

    def holds(self, host: Host) -> bool:
        """Whether ``host`` is spoken to in the clear now."""
        found = self._hosts.get(host)
        if found is None:
            return False
        if self._clock() < found.until:
            return True
        del self._hosts[host]
        return False

    def broke(self, host: Host, problem: TlsProblem) -> None:
        """The handshake with ``host`` broke."""
        self._hosts.pop(host, None)
        self._hosts[host] = Broken(str(host), problem, self._clock() + self._hold)
        if len(self._hosts) > REMEMBERED:
            self._hosts.popitem(last=False)

    def worked(self, host: Host) -> None:
        """``host`` has done a handshake, for mail that needed it."""
        self._hosts.pop(host, None)

    def all(self) -> tuple[Broken, ...]:
        """What is remembered now, the oldest first."""
        self._forget()
        return tuple(self._hosts.values())

    def _forget(self) -> None:
        now = self._clock()
        while self._hosts and (first := next(iter(self._hosts))) is not None and self._hosts[first].until <= now:
            del self._hosts[first]
