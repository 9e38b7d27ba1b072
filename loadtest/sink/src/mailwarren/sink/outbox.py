"""Replies on their way out: gathered into one write, held back for their time, or never sent."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from mailwarren.sink.store import Store, Ticket


class Wire(Protocol):
    """What a dialogue asks of its connection."""

    def send(self, data: bytes, answers: Sequence[Ticket]) -> None:
        """Write replies, and tell the store of each ticket in ``answers`` whether it was answered or lost."""

    def hold(self, seconds: float) -> None:
        """Call ``Dialogue.resume`` after so long."""

    def start_tls(self) -> None:
        """Begin TLS, then call ``Dialogue.secured``."""

    def close(self) -> None:
        """Close when everything was sent."""

    def cut(self) -> None:
        """Close at once."""


class _Held(NamedTuple):
    """What happens when the time is over: this reply, or without one the cut."""

    reply: bytes | None
    ticket: Ticket | None
    close: bool


class Outbox:
    """The replies of one connection, in order. Nothing may be said while one is held, or after the end."""

    __slots__ = ("_answers", "_held", "_replies", "_store", "_wire", "ended")

    def __init__(self, wire: Wire, store: Store) -> None:
        self._wire = wire
        self._store = store
        self._replies: list[bytes] = []
        self._answers: list[Ticket] = []
        self._held: _Held | None = None
        self.ended = False
        """Closed or cut from this side, or lost: what arrives now is not read any more."""

    @property
    def holds(self) -> bool:
        """A reply waits for its time, and everything behind it too."""
        return self._held is not None

    def say(self, reply: bytes, delay: float = 0.0, *, ticket: Ticket | None = None, close: bool = False) -> None:
        """Reply after ``delay`` seconds; ``ticket``: to a final dot; ``close``: and close the connection then."""
        if delay > 0:
            self._hold(_Held(reply, ticket, close), delay)
            return
        self._replies.append(reply)
        if ticket:
            self._answers.append(ticket)
        if close:
            self.end()

    def cut(self, delay: float = 0.0, *, ticket: Ticket | None = None) -> None:
        """Cut the connection after ``delay`` seconds; ``ticket``: instead of the answer to a final dot."""
        if delay > 0:
            self._hold(_Held(None, ticket, close=True), delay)
            return
        if ticket:
            self._store.drop_after_dot(ticket)
        self.flush()
        self.ended = True
        self._wire.cut()

    def release(self) -> None:
        """The time of the held reply has come."""
        held, self._held = self._held, None
        if held is None or self.ended:
            return
        if held.reply is None:
            self.cut(ticket=held.ticket)
        else:
            self.say(held.reply, ticket=held.ticket, close=held.close)

    def flush(self) -> None:
        """Send what was said so far."""
        if self._replies:
            data, answers = b"".join(self._replies), self._answers
            self._replies, self._answers = [], []
            self._wire.send(data, answers)

    def end(self) -> None:
        """Send what was said, and close."""
        self.flush()
        self.ended = True
        self._wire.close()

    def lost(self) -> None:
        """The connection is gone: a held answer never gets out."""
        held, self._held = self._held, None
        self.ended = True
        if held and held.ticket:
            self._store.lose(held.ticket)

    def _hold(self, held: _Held, delay: float) -> None:
        self.flush()
        self._held = held
        self._wire.hold(delay)
