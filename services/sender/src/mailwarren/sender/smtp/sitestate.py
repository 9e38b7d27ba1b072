"""What a site has: connections, dials, senders who wait."""

import asyncio
from dataclasses import dataclass, field

from mailwarren.sender.smtp.connection import Connection
from mailwarren.sender.smtp.pace import Pacer
from mailwarren.sender.smtp.result import NoSession
from mailwarren.sender.smtp.share import Share
from mailwarren.sender.smtp.site import Host, Site
from mailwarren.sender.smtp.waiting import Waiter, WaitingLine


@dataclass(frozen=True, slots=True)
class SiteStats:
    """What a site has now: connections (busy, idle or leaving), dials under way, senders waiting."""

    name: str
    open: int
    busy: int
    idle: int
    dialling: int
    waiting: int


@dataclass(slots=True)
class Route:
    """What one route has of the site's slots.

    ``retired``: the rules send its mail another way now; its connections end with the mails that they have.
    """

    site: Site
    idle: list[Connection] = field(default_factory=list)
    established: int = 0
    dialling: int = 0
    held_until: float = 0.0
    retired: bool = False


class SiteState:
    """What there is, and what is to be read from it; :class:`.sitepool.SitePool` acts on it."""

    def __init__(self, name: str, share: Share) -> None:
        self.name = name
        self.share = share
        self.begun = 0
        self._loop = asyncio.get_running_loop()
        self._connections: set[Connection] = set()
        self._dials: set[asyncio.Task[Connection | NoSession]] = set()
        self._routes: dict[str, Route] = {}
        self._line = WaitingLine()
        self._pacer: Pacer | None = None

    def reaches(self, host: Host) -> bool:
        """Whether there is a connection to ``host``."""
        return any(connection.host == host for connection in self._connections)

    @property
    def used(self) -> int:
        """Slots taken: connections, also those that close, and dials."""
        return len(self._connections) + len(self._dials)

    @property
    def waiting(self) -> int:
        """Senders in line."""
        return len(self._line)

    def stats(self) -> SiteStats:
        """Count."""
        idle = sum(len(having.idle) for having in self._routes.values())
        opened = len(self._connections)
        return SiteStats(self.name, opened, opened - idle, idle, len(self._dials), len(self._line))

    def _is_retired(self, route: str) -> bool:
        having = self._routes.get(route)
        return having is not None and having.retired

    def _surplus(self) -> bool:
        """Whether there are too many even when those that leave are gone."""
        staying = sum(not (connection.closed or connection.shut) for connection in self._connections)
        return staying + len(self._dials) > self.share.connections

    def _first_for(self, connection: Connection) -> Waiter | None:
        needy = None if connection.kept else self._line.first_of(connection.route, fresh=True)
        return needy or self._line.first_of(connection.route, fresh=False)

    def _resting_for(self) -> Waiter | None:
        """Who is next of those for whose route a connection rests, as it does only for want of tokens."""
        waiters = (waiter for waiter in (self._line.head, *self._line.heads()) if waiter is not None)
        return next((one for one in waiters if not one.fresh and (r := self._routes.get(one.route)) and r.idle), None)

    def _next_to_dial_for(self) -> Waiter | None:
        head = self._line.head
        if head is None or self._lacks_dial(head.route):
            return head
        return next((waiter for waiter in self._line.heads() if self._lacks_dial(waiter.route)), None)

    def _lacks_dial(self, route: str) -> bool:
        """Whether one more connection of ``route`` should be opened for those who wait for it."""
        having = self._routes.get(route)
        if having is None:
            return True
        fresh = self._line.count(route, fresh=True)
        if having.dialling >= fresh + self._line.count(route, fresh=False):
            return False
        alone = having.established + having.dialling == 0
        if alone or having.dialling < fresh:
            return True
        if self._loop.time() < having.held_until:
            return False
        # Under a rate one more is of use when there is a token, and nobody rests to take it.
        return self._pacer is None or (not (having.idle or having.dialling) and self._pacer.ready())
