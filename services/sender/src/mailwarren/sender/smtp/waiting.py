"""The line in which senders wait for a connection to one site: first come, first served, with a view per route."""

import asyncio
from collections import OrderedDict

from mailwarren.sender.smtp.connection import Connection
from mailwarren.sender.smtp.result import Abandoned, NoSession
from mailwarren.sender.smtp.site import Site

Found = Connection | NoSession | Abandoned
"""What waiting comes to: a connection, none to be had, or the pool was closed."""


class Waiter:
    """One sender in line; compares by identity.

    Attributes:
        site: Where its mail goes; ``site.route`` is what it waits for.
        fresh: True when only a connection that was never used will do.
        future: What it gets.
    """

    __slots__ = ("fresh", "future", "route", "site")

    def __init__(self, site: Site, *, fresh: bool) -> None:
        self.site = site
        self.route = site.route
        self.fresh = fresh
        self.future: asyncio.Future[Found] = asyncio.get_running_loop().create_future()


Waiters = OrderedDict[Waiter, None]

_NOBODY: Waiters = OrderedDict()


class WaitingLine:
    """Waiters in order of arrival. Joining, leaving and looking up the first, of all or of a route, cost O(1)."""

    __slots__ = ("_all", "_by_need")

    def __init__(self) -> None:
        self._all: Waiters = OrderedDict()
        self._by_need: dict[tuple[str, bool], Waiters] = {}

    def __len__(self) -> int:
        """How many wait."""
        return len(self._all)

    @property
    def head(self) -> Waiter | None:
        """Who is first in line."""
        return self._first(self._all)

    def heads(self) -> list[Waiter]:
        """Who is first of each route."""
        return [waiter for waiters in list(self._by_need.values()) if (waiter := self._first(waiters)) is not None]

    def first_of(self, route: str, *, fresh: bool) -> Waiter | None:
        """Who is first of those of ``route`` that need a fresh connection, or of those that do not."""
        return self._first(self._by_need.get((route, fresh), _NOBODY))

    def count(self, route: str, *, fresh: bool) -> int:
        """How many of ``route`` need a fresh connection, or do not."""
        return len(self._by_need.get((route, fresh), _NOBODY))

    def join(self, waiter: Waiter) -> None:
        """Put ``waiter`` at the end; one that needs a fresh connection has had its turn and goes to the head."""
        same_need = self._by_need.setdefault((waiter.route, waiter.fresh), OrderedDict())
        self._all[waiter] = same_need[waiter] = None
        if waiter.fresh:
            self._all.move_to_end(waiter, last=False)

    def leave(self, waiter: Waiter) -> None:
        """Take ``waiter`` out, wherever it stands; nothing happens when it has left already."""
        if waiter in self._all:
            del self._all[waiter]
            need = (waiter.route, waiter.fresh)
            same_need = self._by_need[need]
            del same_need[waiter]
            if not same_need:
                del self._by_need[need]

    def _first(self, waiters: Waiters) -> Waiter | None:
        """The first that still waits; those whose task was cancelled a moment ago leave here."""
        while (waiter := next(iter(waiters), None)) is not None and waiter.future.done():
            self.leave(waiter)
        return waiter
