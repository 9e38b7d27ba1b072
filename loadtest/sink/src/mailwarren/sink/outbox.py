"""Replies on their way out: gathered into one write, held back for their time, or never sent."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from mailwarren.sink.persona import Tls
from mailwarren.sink.store import Store, Ticket
from mailwarren.sink.visit import Visit

_TICK_S = 0.01  # trickling replies leave in pieces, at most so often


class Wire(Protocol):
    """What a dialogue asks of its connection."""

    def send(self, data: bytes, answers: Sequence[Ticket]) -> None:
        """Write replies, and tell the store of each ticket in ``answers`` whether it was answered or lost."""

    def hold(self, seconds: float) -> None:
        """Call ``Dialogue.resume`` after so long."""

    def start_tls(self, kind: Tls) -> None:
        """Begin what such a server calls TLS, then call ``Dialogue.secured`` if it comes to that."""

    def close(self, *, unread: bool) -> None:
        """Close when everything was sent; ``unread``: the client is still sending, and must get to read the reply."""

    def cut(self, *, reset: bool) -> None:
        """Close at once; ``reset``: so that the client sees a reset, and no end."""


class _Held(NamedTuple):
    """What happens when the time is over: this reply, or without one the cut."""

    reply: bytes | None
    ticket: Ticket | None = None
    close: bool = False
    unread: bool = False
    reset: bool = False


class Outbox:
    """The replies of one connection, in order. Nothing may be said while one is held, or after the end."""

    __slots__ = ("_answers", "_held", "_replies", "_store", "_visit", "_wire", "ended")

    def __init__(self, wire: Wire, store: Store, visit: Visit) -> None:
        self._wire = wire
        self._store = store
        self._visit = visit
        self._replies: list[bytes] = []
        self._answers: list[Ticket] = []
        self._held: _Held | None = None
        self.ended = False
        """Closed or cut from this side, or lost: what arrives now is not read any more."""

    @property
    def holds(self) -> bool:
        """A reply waits for its time, and everything behind it too."""
        return self._held is not None

    def say(
        self,
        reply: bytes,
        delay: float = 0.0,
        *,
        ticket: Ticket | None = None,
        close: bool = False,
        unread: bool = False,
    ) -> None:
        """Reply after ``delay`` seconds.

        Args:
            reply: its lines.
            delay: seconds.
            ticket: it answers a final dot.
            close: and close the connection then.
            unread: with ``close``: the client is still sending.
        """
        held = _Held(reply, ticket, close, unread)
        if delay > 0 or self._visit.octets_per_s:
            self._hold(held, delay)
        else:
            self._give(held)

    def cut(self, delay: float = 0.0, *, ticket: Ticket | None = None, reset: bool = False) -> None:
        """Cut the connection after ``delay`` seconds; ``ticket``: instead of the answer to a final dot."""
        held = _Held(None, ticket, reset=reset)
        if delay > 0:
            self._hold(held, delay)
        else:
            self._give(held)

    def release(self) -> None:
        """The time of the held reply has come."""
        held, self._held = self._held, None
        if held is None or self.ended:
            return
        speed = self._visit.octets_per_s
        if held.reply is not None and speed is not None:
            size = max(1, int(speed * _TICK_S))
            if size < len(held.reply):
                self._replies.append(held.reply[:size])
                self._hold(held._replace(reply=held.reply[size:]), size / speed)
                return
        self._give(held)

    def flush(self) -> None:
        """Send what was said so far."""
        if self._replies:
            data, answers = b"".join(self._replies), self._answers
            self._replies, self._answers = [], []
            self._wire.send(data, answers)

    def end(self, *, unread: bool = False) -> None:
        """Send what was said, and close; ``unread``: the client is still sending."""
        self.flush()
        self.ended = True
        self._wire.close(unread=unread)

    def lost(self) -> None:
        """The connection is gone: a held answer never gets out."""
        held, self._held = self._held, None
        self.ended = True
        if held and held.ticket:
            self._store.lose(held.ticket)

    def _give(self, held: _Held) -> None:
        if held.reply is None:
            if held.ticket:
                self._store.drop_after_dot(held.ticket)
            self.flush()
            self.ended = True
            self._wire.cut(reset=held.reset)
            return
        self._replies.append(held.reply)
        if held.ticket:
            self._answers.append(held.ticket)
        if held.close:
            self.end(unread=held.unread)

    def _hold(self, held: _Held, delay: float) -> None:
        self.flush()
        self._held = held
        self._wire.hold(delay)
