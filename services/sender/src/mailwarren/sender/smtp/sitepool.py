"""The connections of one site: who gets which, and when one more may be opened."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from mailwarren.sender.smtp.connection import Connection
from mailwarren.sender.smtp.site import Host, SiteLimits
from mailwarren.sender.smtp.waiting import Grant, Waiter, WaitingLine

MOST_TURNS = 10
"""Mails that a connection may carry out of turn, because they are for its own route, while others wait."""


@dataclass(frozen=True, slots=True)
class SiteStats:
    """What a site has now: connections (busy, idle or leaving), slots being dialled, senders waiting for one."""

    name: str
    open: int
    busy: int
    idle: int
    dialling: int
    waiting: int


@dataclass(slots=True)
class _Route:
    """What one route has of the site's slots."""

    idle: list[Connection] = field(default_factory=list)
    established: int = 0
    dialling: int = 0
    held_until: float = 0.0


class SitePool:
    """Slots and their use. A slot is taken by a sender that dials, or by a connection until its transport is gone.

    A dial that fails while the route has other connections is read as the server's own limit: nobody dials that route
    for ``dial_hold`` seconds, and the sender waits for one of the others.

    Args:
        name: The site's.
        limits: May be replaced at any time; connections over the limit leave when they become free.
        dial_hold: Seconds.
        emptied: Called each time that nothing is left here.
    """

    def __init__(
        self, name: str, limits: SiteLimits, *, dial_hold: float, emptied: Callable[["SitePool"], None]
    ) -> None:
        self.name = name
        self.limits = limits
        self._dial_hold = dial_hold
        self._emptied = emptied
        self._loop = asyncio.get_running_loop()
        self._connections: set[Connection] = set()
        self._dialling = 0
        self._routes: dict[str, _Route] = {}
        self._line = WaitingLine()
        self._closing = False

    # --- what senders do ---

    def take_idle(self, route: str) -> Connection | None:
        """Return the connection of ``route`` that rested last, now busy; None when none rests."""
        having = self._routes.get(route)
        return having.idle.pop() if having is not None and having.idle else None

    async def acquire(self, route: str, *, at_head: bool = False, fresh: bool = False) -> Connection | Grant:
        """Wait in line for a connection of ``route``, or for a slot to dial; with ``fresh`` only for a slot.

        The slot of a ``Grant.DIAL`` must be given back by ``adopt`` or ``dial_ended``.
        """
        if self._closing:
            return Grant.CLOSED
        if not fresh and (resting := self.take_idle(route)) is not None:
            return resting
        waiter = Waiter(route, fresh=fresh)
        self._line.join(waiter, at_head=at_head)
        self._serve_line()
        if not waiter.future.done() and self._wants_slot(waiter):
            self._make_room()
        try:
            return await waiter.future
        except asyncio.CancelledError:
            self._line.leave(waiter)
            self._give_back(waiter)
            raise

    def release(self, connection: Connection) -> None:
        """Its sender is done with ``connection``: hand it on, let it rest, or let it go."""
        if connection.closed:
            return
        limits = self.limits
        worn = connection.messages >= limits.messages_per_connection
        if worn or self._closing or len(self._connections) + self._dialling > limits.connections:
            connection.quit()
        elif not self._line:
            self._rest(connection)
        else:
            self._hand_on(connection)

    def adopt(self, connection: Connection) -> None:
        """A dial succeeded: its slot is the connection's until that is gone. The sender that dialled uses it."""
        self._dialling -= 1
        self._connections.add(connection)
        having = self._routes[connection.route]
        having.dialling -= 1
        having.established += 1
        if connection.gone:
            self._gone(connection)
        else:
            connection.on_closed = partial(self._gone, connection)

    def dial_ended(self, route: str, *, failed: bool) -> bool:
        """A dial came to nothing; True when the route has, or is about to have, other connections to wait for.

        ``failed`` is False for a dial that was given up by us, which says nothing about the server.
        """
        having = self._routes[route]
        self._dialling -= 1
        having.dialling -= 1
        others = having.established + having.dialling > 0
        if others and failed:
            having.held_until = self._loop.time() + self._dial_hold
        self._slot_freed(route)
        return others

    def established(self, route: str) -> bool:
        """Whether ``route`` has a connection."""
        return route in self._routes and self._routes[route].established > 0

    def reaches(self, host: Host) -> bool:
        """Whether there is a connection to ``host``."""
        return any(connection.host == host for connection in self._connections)

    # --- closing ---

    def close(self) -> None:
        """Turn away those who wait and let idle connections go; busy ones go when they are released."""
        self._closing = True
        while (waiter := self._line.head) is not None:
            self._line.leave(waiter)
            waiter.future.set_result(Grant.CLOSED)
        for having in self._routes.values():
            while having.idle:
                having.idle.pop().quit()

    def cut(self) -> None:
        """Drop every connection."""
        for connection in list(self._connections):
            connection.cut()

    def stats(self) -> SiteStats:
        """Count."""
        idle = sum(len(having.idle) for having in self._routes.values())
        opened = len(self._connections)
        return SiteStats(self.name, opened, opened - idle, idle, self._dialling, len(self._line))

    # --- inside ---

    def _rest(self, connection: Connection) -> None:
        self._routes[connection.route].idle.append(connection)
        connection.rest(self.limits.idle)

    def _hand_on(self, connection: Connection) -> None:
        """Serve the line: its head first, though a connection may stay with its own route for some turns."""
        head = self._line.head
        mine = self._line.first_of(connection.route)
        if head is None or (mine is None and not self._wants_slot(head)):
            self._rest(connection)
        elif mine is None or (mine is not head and connection.turns >= MOST_TURNS and self._wants_slot(head)):
            connection.quit()
        else:
            connection.turns = 0 if mine is head else connection.turns + 1
            self._line.leave(mine)
            mine.future.set_result(connection)

    def _wants_slot(self, waiter: Waiter) -> bool:
        """Whether ``waiter`` would dial if it had a slot, or rather waits for a connection of its route."""
        having = self._routes.get(waiter.route)
        if waiter.fresh or having is None or having.established + having.dialling == 0:
            return True
        return self._loop.time() >= having.held_until

    def _serve_line(self) -> None:
        """Give free slots to those in line who want one, in order."""
        while self._line and len(self._connections) + self._dialling < self.limits.connections:
            waiter = self._line.head
            if waiter is None or not self._wants_slot(waiter):
                waiter = next(filter(self._wants_slot, self._line.heads()), None)
            if waiter is None:
                return
            self._line.leave(waiter)
            if not waiter.future.done():
                self._dialling += 1
                self._routes.setdefault(waiter.route, _Route()).dialling += 1
                waiter.future.set_result(Grant.DIAL)

    def _make_room(self) -> None:
        """Let go of a connection that rests for another route."""
        for having in self._routes.values():
            if having.idle:
                having.idle.pop(0).quit()
                return

    def _give_back(self, waiter: Waiter) -> None:
        """Its sender was cancelled between being served and taking note of it."""
        if not waiter.future.done() or waiter.future.cancelled():
            return
        given = waiter.future.result()
        if isinstance(given, Connection):
            self.release(given)
        elif given is Grant.DIAL:
            self.dial_ended(waiter.route, failed=False)

    def _gone(self, connection: Connection) -> None:
        """A connection's transport is closed."""
        self._connections.discard(connection)
        having = self._routes[connection.route]
        having.established -= 1
        if connection in having.idle:
            having.idle.remove(connection)
        self._slot_freed(connection.route)

    def _slot_freed(self, route: str) -> None:
        self._serve_line()
        having = self._routes[route]
        if having.established + having.dialling == 0:
            del self._routes[route]
            if not (self._routes or self._line):
                self._emptied(self)
