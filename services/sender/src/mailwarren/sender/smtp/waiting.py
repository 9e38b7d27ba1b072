"""The line in which senders wait for a connection to one site: first come, first served, with a view per route."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from enum import Enum, auto

from mailwarren.sender.smtp.connection import Connection


class Grant(Enum):
    """What a waiting sender is told instead of being handed a connection."""

    DIAL = auto()
    """A slot is yours: open a connection."""
    CLOSED = auto()
    """The pool is closing."""


class Waiter:
    """One sender in line; compares by identity.

    Attributes:
        route: The ``Site.route`` it needs.
        fresh: True when only a new connection will do.
        future: What it was given.
    """

    __slots__ = ("fresh", "future", "route")

    def __init__(self, route: str, *, fresh: bool) -> None:
        self.route = route
        self.fresh = fresh
        self.future: asyncio.Future[Connection | Grant] = asyncio.get_running_loop().create_future()


_NOBODY: OrderedDict[Waiter, None] = OrderedDict()


class WaitingLine:
    """Waiters in order of arrival. Joining, leaving and taking the first, of all or of a route, cost O(1)."""

    __slots__ = ("_all", "_by_need")

    def __init__(self) -> None:
        self._all: OrderedDict[Waiter, None] = OrderedDict()
        self._by_need: dict[tuple[str, bool], OrderedDict[Waiter, None]] = {}

    def __len__(self) -> int:
        """How many wait."""
        return len(self._all)

    @property
    def head(self) -> Waiter | None:
        """Who is first in line."""
        return self._first(self._all)

    def heads(self) -> Iterable[Waiter]:
        """Who is first of each route; some may have been cancelled."""
        return [next(iter(waiters)) for waiters in self._by_need.values()]

    def first_of(self, route: str) -> Waiter | None:
        """Who is first of those that a kept connection of ``route`` can serve."""
        return self._first(self._by_need.get((route, False), _NOBODY))

    def join(self, waiter: Waiter, *, at_head: bool) -> None:
        """Put ``waiter`` at the end, or in front of everybody when it has waited before."""
        same_need = self._by_need.setdefault((waiter.route, waiter.fresh), OrderedDict())
        self._all[waiter] = same_need[waiter] = None
        if at_head:
            self._all.move_to_end(waiter, last=False)
            same_need.move_to_end(waiter, last=False)

    def leave(self, waiter: Waiter) -> None:
        """Take ``waiter`` out, wherever it stands; nothing happens when it has left already."""
        if waiter in self._all:
            del self._all[waiter]
            need = (waiter.route, waiter.fresh)
            same_need = self._by_need[need]
            del same_need[waiter]
            if not same_need:
                del self._by_need[need]

    def _first(self, waiters: OrderedDict[Waiter, None]) -> Waiter | None:
        """The first that still waits; those whose task was cancelled a moment ago leave here."""
        while (waiter := next(iter(waiters), None)) is not None and waiter.future.done():
            self.leave(waiter)
        return waiter
