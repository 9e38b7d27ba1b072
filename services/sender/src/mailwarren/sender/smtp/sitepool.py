"""The connections of one site: who gets which, and when one more is opened."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from mailwarren.sender.smtp.connection import Connection
from mailwarren.sender.smtp.pace import Pacer
from mailwarren.sender.smtp.result import Abandoned, NoSession
from mailwarren.sender.smtp.share import Share
from mailwarren.sender.smtp.site import Site, SiteLimits
from mailwarren.sender.smtp.sitestate import Route, SiteState
from mailwarren.sender.smtp.waiting import Found, Waiter

MOST_TURNS = 10
"""Mails that a connection may carry out of turn, because they are for its own route, while others wait."""

QUICK = 0.25
"""Seconds of a transaction after which its connection is given one mail at a time."""

Dial = Callable[["SitePool", Site], Coroutine[Any, Any, Connection | NoSession]]
"""Opens one connection to one of the site's hosts."""


class SitePool(SiteState):
    """Slots, each taken by a dial or by a connection until its transport is gone, and the line of those who wait.

    A dial is made because somebody waits, but for nobody in particular: whoever is first in line gets the connection,
    and whoever waits takes what comes first, a new connection or one that becomes free. A dial that fails while the
    route has other connections, or dials, is read as the server's own limit: nobody dials that route for
    ``dial_hold`` seconds, and those who wait go on waiting. When the last dial of a route without connections fails,
    all who wait for it hear why.

    Under a rate a mail is begun with a token. Connections may then rest while senders wait, and one more is opened
    only when none rests.

    Args:
        name: The site's.
        limits: May be replaced at any time (``set_limits``), and so may ``share``: connections over it leave when they
            become free, and where it has none, those who wait get ``Abandoned``.
        share: How many connections, and what rates, are this process's own.
        dial: Opens a connection.
        dial_hold: Seconds.
        emptied: Called each time that nothing is left here.
        freed: Called each time that a slot is free again.

    Attributes:
        begun: Mails that got a connection.
    """

    def __init__(
        self,
        name: str,
        limits: SiteLimits,
        share: Share,
        *,
        dial: Dial,
        dial_hold: float,
        emptied: Callable[["SitePool"], None],
        freed: Callable[[str], None],
    ) -> None:
        super().__init__(name, Share(share.connections))
        self.limits = limits
        self._freed = freed
        self._dial = dial
        self._dial_hold = dial_hold
        self._emptied = emptied
        self._closing = False
        self._dial_pacer: Pacer | None = None
        self.set_share(share)

    # --- what senders do ---

    def take_idle(self, route: str) -> Connection | None:
        """Return the connection of ``route`` that rested last, now busy; None when none rests."""
        having = self._routes.get(route)
        if having is None or not having.idle:
            return None
        if self._pacer is not None and (len(self._line) or not self._pacer.take()):
            return None
        connection = having.idle.pop()
        connection.promised = 1
        self.begun += 1
        return connection

    async def acquire(self, site: Site, *, fresh: bool = False) -> Found:
        """Return a connection for ``site``, waiting in line for it; with ``fresh`` one that was never used.

        A connection must be given back by ``release``, whatever became of it.
        """
        if self._closing or self._is_retired(site.route) or not self.share.connections:
            self._look_empty()
            return Abandoned()
        if not fresh and (resting := self.take_idle(site.route)) is not None:
            return resting
        waiter = Waiter(site, fresh=fresh)
        self._line.join(waiter)
        self._serve_line()
        try:
            return await waiter.future
        except asyncio.CancelledError:
            self._line.leave(waiter)
            self._take_back(waiter)
            raise

    def release(self, connection: Connection) -> None:
        """Its sender is done with ``connection``: hand it on, let it rest, or let it go."""
        connection.promised -= 1
        if connection.closed:
            return
        connection.kept = True
        if connection.promised:
            self.promise_behind(connection)
        elif connection.shut or connection.messages >= self.limits.messages_per_connection:
            connection.quit()
        else:
            self._place(connection)

    def promise_behind(self, connection: Connection) -> None:
        """Let those who are first in line have a busy connection too, so that their mails follow without a gap.

        Only one that has just carried a mail quickly: another is not known to be any good, and a server that takes its
        time would hold up those behind. And only those whose turn it is: nobody of another route is passed over.
        """
        limits = self.limits
        while (
            connection.promised <= limits.behind
            and connection.kept
            and connection.pace < QUICK
            and connection.capabilities.pipelining
            and not (connection.closed or connection.shut or self._closing)
            and connection.messages + connection.promised < limits.messages_per_connection
            and (head := self._line.head) is not None
            and head.route == connection.route
            and not head.fresh
            and self._may_begin(head)
        ):
            self._serve(head, connection)

    # --- new rules ---

    def set_share(self, share: Share) -> None:
        """Keep within ``share`` from now on: use more connections, or let some go, those at rest at once."""
        if share == self.share:
            return
        self.share = share
        self._pacer = self._paced(self._pacer, share.rate)
        self._dial_pacer = self._paced(self._dial_pacer, share.connection_rate, share.credit)
        if not share.connections:
            for waiter in self._line.heads():
                self._turn_away(waiter.route)
        self._shed(sum(not (connection.closed or connection.shut) for connection in self._connections))
        self._go_on()

    def set_limits(self, limits: SiteLimits) -> None:
        """Obey ``limits`` from now on, but for what ``share`` says of them."""
        self.limits = limits
        for having in self._routes.values():
            for connection in list(having.idle):
                if connection.messages >= limits.messages_per_connection:
                    having.idle.remove(connection)
                    connection.quit()
                else:
                    connection.rest(limits.idle)
        self._serve_line()

    def adapt(self, limits_of: Callable[[Site], SiteLimits | None]) -> None:
        """Obey rules that have changed.

        Args:
            limits_of: The limits that a site has now; None when its mail goes another way. Connections made for that
                are closed, busy ones when they become free, and those who wait for one get ``Abandoned``.
        """
        for waiter in self._line.heads():
            if limits_of(waiter.site) is None:
                self._turn_away(waiter.route)
        limits = self.limits
        for having in self._routes.values():
            now = limits_of(having.site)
            having.retired = now is None
            limits = now or limits
        for connection in self._connections:
            having = self._routes[connection.route]
            if having.retired:
                connection.shut = True
                if connection in having.idle:
                    having.idle.remove(connection)
                    connection.quit()
        self.set_limits(limits)

    def _turn_away(self, route: str) -> None:
        for fresh in (True, False):
            while (waiter := self._line.first_of(route, fresh=fresh)) is not None:
                self._line.leave(waiter)
                waiter.future.set_result(Abandoned())

    def _shed(self, staying: int) -> None:
        """Let go of so many that the limit holds: of those at rest first, of busy ones as soon as they are free."""
        for having in self._routes.values():
            while having.idle and staying > self.share.connections:
                having.idle.pop(0).quit()
                staying -= 1
        for connection in self._connections:
            if staying <= self.share.connections:
                return
            if not (connection.closed or connection.shut):
                connection.shut = True
                staying -= 1

    # --- closing ---

    def close(self) -> None:
        """Turn away those who wait, give up dials, let idle connections go; busy ones go when they are released."""
        self._closing = True
        for pacer in (self._pacer, self._dial_pacer):
            if pacer is not None:
                pacer.stop()
        while (waiter := self._line.head) is not None:
            self._line.leave(waiter)
            waiter.future.set_result(Abandoned())
        for dial in self._dials:
            dial.cancel()
        for having in self._routes.values():
            while having.idle:
                having.idle.pop().quit()

    def cut(self) -> None:
        """Drop every connection."""
        for connection in list(self._connections):
            connection.cut()

    # --- connections ---

    def _place(self, connection: Connection) -> None:
        """Give a connection to the line: to its head first, though it may stay with its own route for some turns."""
        slots = self.used
        if self._closing or connection.shut or (slots > self.share.connections and self._surplus()):
            connection.quit()
            return
        if not self._line:
            self._rest(connection)
            return
        head = self._line.head
        mine = self._first_for(connection)
        stranded = head is not None and slots == self.share.connections and self._lacks_dial(head.route)
        if mine is None and not stranded:
            self._rest(connection)
        elif mine is None or (mine is not head and stranded and connection.turns >= MOST_TURNS):
            connection.quit()
        elif not self._may_begin(mine):
            self._rest(connection)
        else:
            connection.turns = 0 if mine is head else connection.turns + 1
            self._serve(mine, connection)
        self._serve_line()

    def _serve(self, waiter: Waiter, connection: Connection) -> None:
        self._line.leave(waiter)
        connection.promised += 1
        self.begun += 1
        waiter.future.set_result(connection)

    def _rest(self, connection: Connection) -> None:
        connection.kept = True
        self._routes[connection.route].idle.append(connection)
        connection.rest(self.limits.idle)

    def _take_back(self, waiter: Waiter) -> None:
        """Its sender was cancelled between being served and taking note of it."""
        future = waiter.future
        if future.done() and not future.cancelled() and future.exception() is None:
            found = future.result()
            if isinstance(found, Connection):
                found.promised -= 1
                if not (found.closed or found.promised):
                    self._place(found)

    def _gone(self, connection: Connection) -> None:
        """A connection's transport is closed."""
        self._connections.discard(connection)
        having = self._routes[connection.route]
        having.established -= 1
        if connection in having.idle:
            having.idle.remove(connection)
        self._slot_freed(connection.route)

    # --- rates ---

    def _paced(self, pacer: Pacer | None, rate: float | None, credit: float = 0.0) -> Pacer | None:
        if rate is None:
            if pacer is not None:
                pacer.stop()
            return None
        if pacer is None:
            return Pacer(rate, self._loop, self._go_on, credit)
        pacer.set_rate(rate)
        return pacer

    def _may_begin(self, waiter: Waiter) -> bool:
        """Whether its mail has a token, or needs none: one that needs a fresh connection had its own."""
        return self._pacer is None or waiter.fresh or self._pacer.take()

    def _go_on(self) -> None:
        """There may be tokens: connections that rest go to those who wait."""
        while (waiter := self._resting_for()) is not None and self._may_begin(waiter):
            self._serve(waiter, self._routes[waiter.route].idle.pop())
        self._serve_line()

    # --- dials ---

    def _serve_line(self) -> None:
        """Dial for those to whom no connection is on its way, in order of the line, as far as there are slots."""
        while (waiter := self._next_to_dial_for()) is not None:
            if self.used >= self.share.connections:
                self._make_room(waiter.route)
                return
            if self._dial_pacer is not None and not self._dial_pacer.take():
                return
            route = waiter.route
            self._routes.setdefault(route, Route(waiter.site)).dialling += 1
            dial = self._loop.create_task(self._dial(self, waiter.site))
            self._dials.add(dial)
            dial.add_done_callback(partial(self._dialled, route))

    def _make_room(self, route: str) -> None:
        """Let go of a connection that rests for another route."""
        for other, having in self._routes.items():
            if having.idle and other != route:
                having.idle.pop(0).quit()
                return

    def _dialled(self, route: str, dial: "asyncio.Task[Connection | NoSession]") -> None:
        self._dials.discard(dial)
        having = self._routes[route]
        having.dialling -= 1
        if dial.cancelled():
            self._slot_freed(route)
            return
        error = dial.exception()
        found = error or dial.result()
        if isinstance(found, Connection):
            self._adopt(found)
            return
        # Who needed a fresh connection has waited for nothing else.
        self._tell(route, found, fresh=True)
        if having.established + having.dialling > 0:
            having.held_until = self._loop.time() + self._dial_hold
        else:
            self._tell(route, found, fresh=False)
        self._slot_freed(route)

    def _tell(self, route: str, news: NoSession | BaseException, *, fresh: bool) -> None:
        """End the waiting for ``route``; an exception is a bug of ours, better raised there than waited out."""
        while (waiter := self._line.first_of(route, fresh=fresh)) is not None:
            self._line.leave(waiter)
            if isinstance(news, NoSession):
                waiter.future.set_result(news)
            else:
                waiter.future.set_exception(news)

    def _adopt(self, connection: Connection) -> None:
        self._connections.add(connection)
        having = self._routes[connection.route]
        having.established += 1
        connection.shut = having.retired
        if not connection.closed:
            connection.on_closed = partial(self._gone, connection)
            self._place(connection)
            return
        # Lost in this moment. Somebody must hear of it, or we would dial such a server for ever.
        waiter = self._first_for(connection)
        if waiter is not None:
            self._serve(waiter, connection)
        if connection.gone:
            self._gone(connection)
        else:
            connection.on_closed = partial(self._gone, connection)

    def _slot_freed(self, route: str) -> None:
        self._serve_line()
        self._freed(self.name)
        having = self._routes[route]
        if having.established + having.dialling == 0:
            del self._routes[route]
            self._look_empty()

    def _look_empty(self) -> None:
        if not (self._routes or self._line):
            self._emptied(self)
