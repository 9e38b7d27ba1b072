"""The asyncio side of a connection: sockets, TLS, timers, back-pressure, and when exactly an answer counts as given."""

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from typing import cast

import structlog

from mailwarren.sink import reply as replies
from mailwarren.sink.dialogue import Dialogue
from mailwarren.sink.oldtls import OldTls
from mailwarren.sink.persona import Tls
from mailwarren.sink.receiver import Receiver
from mailwarren.sink.store import Ticket
from mailwarren.sink.visit import Host

_BACKLOG = 65_536  # octets that may wait behind a held reply before reading stops
_MOST_SAID = 4096  # octets of replies that may wait for the others: to whom does not read, no more is said
_POLL_S = 0.005
_UNREAD_S = 2.0  # that a client which still sends has to read its last reply and close
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, with no time: close sends RST
_NO_TLS = b"\x15\x03\x01\x00\x02\x02\x28"  # a TLS alert, handshake_failure (RFC 8446 §6), to any ClientHello

log = structlog.get_logger(__name__)


Contexts = Callable[[Tls, Host], ssl.SSLContext]
"""Finds the context for a kind of TLS that ends in one, on such a host."""


class Listener:
    """One listening address, called ``name`` if it has one: its open connections, and where TLS contexts are."""

    def __init__(self, receiver: Receiver, contexts: Contexts, name: str = "") -> None:
        self.receiver = receiver
        self.contexts = contexts
        self.name = name
        self.open: set[SmtpProtocol] = set()
        self._speaking: list[SmtpProtocol] = []

    def flush_soon(self, connection: "SmtpProtocol") -> None:
        """Let ``connection`` write when all that has arrived by now, on all connections, was read.

        A write to a client that sleeps wakes it, which is most of what a write costs. Written one after the other, the
        replies to many connections find their client awake from the second on: that saves a quarter of the sink's CPU.
        """
        if not self._speaking:
            asyncio.get_running_loop().call_soon(self._flush)
        self._speaking.append(connection)

    def _flush(self) -> None:
        speaking, self._speaking = self._speaking, []
        for connection in speaking:
            connection.flush()

    def is_full(self) -> bool:
        """Whether one more connection is too many for the script."""
        cap = self.receiver.script.connection_cap
        return cap is not None and len(self.open) >= cap


def shown_address(ip: str, port: int) -> str:
    """``ip:port``, with an IPv6 address in brackets."""
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


class SmtpProtocol(asyncio.Protocol):
    """One connection of ``listener``; the ``Wire`` of its dialogue."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._upgrade: asyncio.Task[None] | None = None
        self._early = b""  # what came over TLS before the upgrade was reported
        self._timer: asyncio.TimerHandle | None = None
        self._said = b""  # replies that the next flush writes
        self._unsettled: list[Ticket] = []  # answers said or written that the kernel has not taken yet
        self._closing = False  # from this side, after everything was sent
        self._blocked = False  # the client does not read its replies
        self._lost = False
        self._deaf = False  # what still comes is not read
        self._breaks_tls = False  # and the first of it answered by an alert
        self._old_tls: OldTls | None = None  # who answers it

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet, or turn away what is over the cap."""
        # uvloop's transports have the interface without the base class.
        self._socket = self._transport = cast("asyncio.Transport", transport)
        # No buffer: a write goes to the kernel at once or is seen to wait, and only what the kernel took counts
        # as answered. It also stops a client that never reads from filling the memory with replies.
        self._socket.set_write_buffer_limits(high=0)
        listener = self._listener
        # A client that is gone already has no address any more.
        client, port = (transport.get_extra_info("peername") or ("", 0))[:2]
        ip, own_port = (transport.get_extra_info("sockname") or ("", 0))[:2]
        self._host = Host(shown_address(ip, own_port), ip, own_port, listener.name)
        visit = listener.receiver.welcome(self._host, client, port)
        self._dialogue = Dialogue(listener.receiver, self, visit)
        full = listener.is_full()
        listener.open.add(self)
        if full:
            self._dialogue.turn_away(replies.TOO_MANY_CONNECTIONS)
        else:
            self._dialogue.greet()

    def data_received(self, data: bytes) -> None:
        """Hand the octets to the dialogue."""
        if self._deaf:
            if self._old_tls is not None:
                said, ended = self._old_tls.answer(data)
                self._transport.write(said)
                if ended:
                    self._old_tls = None
                    self._hang_up()
            elif self._breaks_tls:
                self._breaks_tls = False
                self._transport.write(_NO_TLS)
                self._hang_up()
            return
        if self._upgrade:
            # A client may send its first command together with the end of the handshake. To answer it now would
            # be to answer in the clear.
            self._early += data
            return
        self._dialogue.feed(data)
        if self._dialogue.backlog > _BACKLOG:
            self._transport.pause_reading()

    def eof_received(self) -> None:
        """The client has ended its side. It may still read, but the transport closes when this returns."""
        self.flush()

    def pause_writing(self) -> None:
        """The client does not read: neither do we."""
        self._blocked = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._blocked = False
        self._settle()
        if not self._transport.is_closing() and self._dialogue.backlog <= _BACKLOG:
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the books: what was not handed to the kernel was not answered."""
        if self._lost:
            return
        self._lost = True
        self._said = b""
        self._cancel_timer()
        # asyncio closes without an error only when all was written.
        self._settle_as(answered=exc is None and self._closing)
        self._dialogue.lost()
        self._listener.open.discard(self)

    # -- Wire

    def send(self, data: bytes, answers: Sequence[Ticket]) -> None:
        """Write soon, and note for each final dot whether its answer went out."""
        if not self._said:
            self._listener.flush_soon(self)
        self._said += data
        if answers:
            self._unsettled += answers
        if len(self._said) > _MOST_SAID:
            self.flush()

    def hold(self, seconds: float) -> None:
        """Let the dialogue go on later."""
        self._timer = self._loop.call_later(seconds, self._resume)

    def start_tls(self, kind: Tls) -> None:
        """Upgrade, or fail to; nothing is read in the clear from here on."""
        self.flush()
        if kind in {Tls.STALLED, Tls.BROKEN}:
            self._deaf = True
            self._breaks_tls = kind is Tls.BROKEN
        elif kind is Tls.OLD_VERSION:
            self._deaf = True
            self._old_tls = OldTls(self._listener.contexts(kind, self._host))
        else:
            self._transport.pause_reading()
            self._upgrade = self._loop.create_task(self._secure(kind))

    def close(self, *, unread: bool) -> None:
        """Close after what was written; to a client that is still sending, in a way that it gets to read it."""
        self.flush()
        self._closing = True
        if unread:
            self._hang_up()
        else:
            self._transport.close()

    def cut(self, *, reset: bool) -> None:
        """Close without more ado."""
        self.flush()
        if reset:
            bound = self._socket.get_extra_info("socket")
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    # -- the rest

    def flush(self) -> None:
        """Write what was said."""
        said, self._said = self._said, b""
        if said and not self._transport.is_closing():
            self._transport.write(said)
            self._settle()

    def shut_down(self) -> None:
        """The sink stops."""
        if self._upgrade:
            self._upgrade.cancel()
            self._socket.abort()
        else:
            self._dialogue.shut_down()

    def _hang_up(self) -> None:
        """End our side only: the kernel would answer what still comes to a closed socket with a reset.

        And a client that is reset may never get to read what was said before.
        """
        self._deaf = True
        if not self._transport.can_write_eof():  # TLS has an end of its own
            self._transport.close()
            return
        self._transport.write_eof()
        self._timer = self._loop.call_later(_UNREAD_S, self._transport.abort)

    def _resume(self) -> None:
        self._timer = None
        self._dialogue.resume()
        if not self._transport.is_closing() and not self._blocked and self._dialogue.backlog <= _BACKLOG:
            self._transport.resume_reading()

    def _settle(self) -> None:
        """Answers count when the kernel has them; until then look again, or leave it to ``connection_lost``."""
        # What is said and not written yet cannot be with the kernel; its flush comes back here.
        if self._said or not self._unsettled or self._socket.is_closing():
            return
        if self._transport.get_write_buffer_size() or self._socket.get_write_buffer_size():
            self._loop.call_later(_POLL_S, self._settle)
        else:
            self._settle_as(answered=True)

    def _settle_as(self, *, answered: bool) -> None:
        receiver = self._listener.receiver
        tickets, self._unsettled = self._unsettled, []
        now = receiver.clock()
        for ticket in tickets:
            if answered:
                receiver.store.answer(ticket, now)
            else:
                receiver.store.lose(ticket)

    def _cancel_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    async def _secure(self, kind: Tls) -> None:
        context = self._listener.contexts(kind, self._host)
        try:
            transport = await self._loop.start_tls(self._socket, self, context, server_side=True)
        except (OSError, asyncio.CancelledError) as error:
            # ssl.SSLError is an OSError: the client hung up, or does not trust us.
            log.info("sink.tls.failed", error=type(error).__name__)
            self._socket.abort()
            self.connection_lost(error if isinstance(error, OSError) else None)
            return
        if transport is None or self._lost:
            return
        self._transport, self._upgrade = transport, None
        self._dialogue.secured()
        early, self._early = self._early, b""
        if early:
            self.data_received(early)
