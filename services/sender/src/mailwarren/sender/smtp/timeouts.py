"""How long each stage may take, and the one timer that a connection has for all of them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds per stage, RFC 5321 §4.5.3.2 scaled to a sender with thousands of connections.

    Attributes:
        connect: TCP, per host.
        tls: The handshake.
        greeting: From connected to the greeting.
        command: From any command to its reply, but for those of a transaction that have their own.
        mail: From MAIL, or the RSET before it, to the reply; None is as ``command``.
        rcpt: From RCPT; likewise.
        data: From DATA; likewise.
        data_block: Between two steps of progress while a large message is written.
        final_dot: From the final dot to the reply. Short values send mail twice: the server is still working on it.
        quit: From QUIT to the end of the connection.
        stages: Those of a transaction, by the number of its stage (``dialogue.Stage``).
    """

    connect: float = 30.0
    tls: float = 30.0
    greeting: float = 60.0
    command: float = 60.0
    mail: float | None = None
    rcpt: float | None = None
    data: float | None = None
    data_block: float = 120.0
    final_dot: float = 300.0
    quit: float = 5.0
    stages: tuple[float, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Compute ``stages`` once: they are looked up several times for each mail."""
        mail, rcpt, data = (self.command if one is None else one for one in (self.mail, self.rcpt, self.data))
        object.__setattr__(self, "stages", (mail, mail, rcpt, data, data, self.final_dot))


@dataclass(frozen=True, slots=True)
class SiteTimeouts:
    """What a site has otherwise than all; None is as they have it.

    Attributes:
        connect: As ``Timeouts.connect``.
        ehlo: The greeting, and each reply until the first MAIL.
        mail: As ``Timeouts.mail``, and so on.
        final_dot: Never more than all have: trackers and the end of a sender count on that.
    """

    connect: float | None = None
    ehlo: float | None = None
    mail: float | None = None
    rcpt: float | None = None
    data: float | None = None
    final_dot: float | None = None

    def over(self, base: Timeouts) -> Timeouts:
        """The timeouts of a connection to the site."""
        if self == AS_ALL:
            return base
        return replace(
            base,
            connect=self.connect or base.connect,
            greeting=self.ehlo or base.greeting,
            command=self.ehlo or base.command,
            mail=self.mail or base.mail or base.command,
            rcpt=self.rcpt or base.rcpt or base.command,
            data=self.data or base.data or base.command,
            final_dot=min(self.final_dot or base.final_dot, base.final_dot),
        )


AS_ALL = SiteTimeouts()
"""Of a site that has none of its own."""


class DeadlineTimer:
    """One timer of the loop that follows a moving deadline.

    Moving the deadline later only stores a number; the loop's timer looks at it when it fires. A mail moves the
    deadline five times, and a heap operation each would cost more than the rest of the dialogue's bookkeeping.
    """

    __slots__ = ("_at", "_deadline", "_expired", "_handle", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[], None]) -> None:
        self._loop = loop
        self._expired = expired
        self._deadline = 0.0
        self._at = 0.0
        self._handle: asyncio.TimerHandle | None = None

    def set(self, seconds: float) -> None:
        """Call ``expired`` after ``seconds``, unless set or cancelled before."""
        self._deadline = deadline = self._loop.time() + seconds
        if self._handle is None:
            self._schedule()
        elif deadline < self._at:
            self._handle.cancel()
            self._schedule()

    def cancel(self) -> None:
        """Forget the deadline and free the loop's timer."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _schedule(self) -> None:
        self._at = self._deadline
        self._handle = self._loop.call_at(self._at, self._fired)

    def _fired(self) -> None:
        self._handle = None
        if self._loop.time() < self._deadline:
            self._schedule()
        else:
            self._expired()
