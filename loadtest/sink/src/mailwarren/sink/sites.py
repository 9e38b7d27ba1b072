"""Counts by place and by second: what a test of rates and connection limits reads.

A site is a listening address, a persona, or all of the sink. It outlives scripts, as connections do.
"""

from array import array
from collections import Counter
from collections.abc import Iterator

import msgspec

ALL = "all"
"""The site that is the whole sink."""

NO_PERSONA = "none"
"""The site of the mails that no persona answered for."""

_KEPT = 90_000  # seconds: a day and an hour
_DROPPED = 3600  # at once, when more are there


class Window(msgspec.Struct, frozen=True):
    """Some seconds of one site.

    Args:
        start: Unix time of its first second.
        received: mails whose final dot arrived.
        accepted: mails whose final dot was answered with 250.
        refused: mails whose final dot was answered otherwise, and refusals before it.
        opened: connections that began (of a persona chosen by domain: that had their first recipient there).
        connections_peak: the most that were open at one moment, turned away ones too.
    """

    start: int
    received: int
    accepted: int
    refused: int
    opened: int
    connections_peak: int


class Site:
    """One place: its open connections now, its counts, and its seconds."""

    __slots__ = ("_accepted", "_columns", "_ends", "_filled_at", "_first", "_opened", "_peak", "_received", "_refused",
                 "_tokens", "bytes", "clients", "mails", "name", "open", "replies")  # fmt: skip

    def __init__(self, name: str) -> None:
        self.name = name
        self.open = 0
        self.clients: Counter[str] = Counter()
        self._tokens = 0.0
        self._filled_at = 0.0
        self.forget()

    def forget(self) -> None:
        """Begin all counts anew; open connections stay open."""
        self.mails = 0
        self.bytes = 0
        self.replies: Counter[int] = Counter()
        # The second that goes on is in plain numbers, which cost a mail least; those before it are in the columns.
        self._ends = 0
        self._received = self._accepted = self._refused = self._opened = 0
        self._peak = self.open
        self._first = 0
        self._columns = [array("I") for _ in range(5)]

    def join(self, client: str, now: float) -> None:
        """A connection of ``client`` is here from now on."""
        if now >= self._ends:
            self._turn(int(now))
        self.open += 1
        self.clients[client] += 1
        self._opened += 1
        self._peak = max(self._peak, self.open)

    def leave(self, client: str, now: float) -> None:
        """It is gone."""
        if now >= self._ends:
            self._turn(int(now))
        self.open -= 1
        self.clients[client] -= 1
        if not self.clients[client]:
            del self.clients[client]

    def receive(self, size: int, now: float) -> None:
        """A final dot arrived, after ``size`` octets."""
        if now >= self._ends:
            self._turn(int(now))
        self.mails += 1
        self.bytes += size
        self._received += 1

    def answer(self, code: int, now: float) -> None:
        """A final dot was answered, or something refused before it."""
        if now >= self._ends:
            self._turn(int(now))
        self.replies[code] += 1
        if code == 250:  # noqa: PLR2004
            self._accepted += 1
        else:
            self._refused += 1

    def take(self, rate: float, now: float) -> bool:
        """Whether one more fits into ``rate`` a second, with no more than a second's worth at once."""
        most = max(rate, 1.0)
        self._tokens = min(most, self._tokens + (now - self._filled_at) * rate) if self._filled_at else most
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def windows(self, now: float, *, seconds: int, step: int, since: int = 0) -> Iterator[Window]:
        """Windows of so many seconds, one every ``step`` of Unix time, as far as they are over.

        The first has the first second that there are counts of in it, or begins at ``since`` or soon after.
        """
        if not self._ends:
            return
        if now >= self._ends:
            self._turn(int(now))
        start = max(self._first - self._first % step, since + -since % step)
        while start + seconds <= int(now):
            part = slice(max(0, start - self._first), max(0, start - self._first + seconds))
            received, accepted, refused, opened, peak = (column[part] for column in self._columns)
            yield Window(start, sum(received), sum(accepted), sum(refused), sum(opened), max(peak, default=0))
            start += step

    def _turn(self, second: int) -> None:
        """Put the second that is over into the columns, the quiet ones after it too, and begin ``second``."""
        # A clock that was set back never gets here: what happens then counts in the second where time stood still.
        if not self._ends:
            self._first = second
        else:
            last = (self._received, self._accepted, self._refused, self._opened, self._peak)
            quiet = second - self._ends
            if quiet > _KEPT:
                self._first = second
                self._columns = [array("I") for _ in last]
            else:
                for column, count, meanwhile in zip(self._columns, last, (0, 0, 0, 0, self.open), strict=True):
                    column.append(count)
                    column.extend(array("I", [meanwhile]) * quiet)
        self._received = self._accepted = self._refused = self._opened = 0
        self._peak = self.open
        self._ends = second + 1
        if len(self._columns[0]) >= _KEPT + _DROPPED:
            gone = len(self._columns[0]) - _KEPT
            self._first += gone
            for column in self._columns:
                del column[:gone]


class Sites:
    """All sites by kind and name."""

    def __init__(self) -> None:
        self.everything = Site(ALL)
        self.personas: dict[str, Site] = {}
        self.addresses: dict[str, Site] = {}
        self.no_persona = self.persona(NO_PERSONA)

    def persona(self, name: str) -> Site:
        """The site of all personas of this name."""
        return self.personas.setdefault(name, Site(name))

    def address(self, name: str) -> Site:
        """The site of a listening address."""
        return self.addresses.setdefault(name, Site(name))

    def find(self, name: str) -> Site | None:
        """``all``, a persona by its name, or a listening address."""
        return self.everything if name == ALL else self.personas.get(name) or self.addresses.get(name)

    def names(self) -> list[str]:
        """What ``find`` knows."""
        return [ALL, *self.personas, *self.addresses]

    def forget(self) -> None:
        """Begin all counts anew."""
        for site in (self.everything, *self.personas.values(), *self.addresses.values()):
            site.forget()
