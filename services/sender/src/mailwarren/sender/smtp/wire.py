"""The octets and the life of one connection: replies one by one, STARTTLS, deadlines, the ways to end it."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import replace

from mailwarren.contracts.reply import Command
from mailwarren.sender.smtp.dane import chain_of
from mailwarren.sender.smtp.dialogue import SERVICE_CLOSING
from mailwarren.sender.smtp.replies import RawReply, ReplyParser, to_reply
from mailwarren.sender.smtp.result import Failure, Unreachable, UnreachableKind
from mailwarren.sender.smtp.site import Host
from mailwarren.sender.smtp.timeouts import DeadlineTimer, Timeouts
from mailwarren.sender.smtp.tlsproblem import TlsProblem, read_problem

TLS_SHUTDOWN = 1.0
"""Seconds that a closing TLS connection waits for the other side's close_notify."""


class SessionFailedError(Exception):
    """The session could not be set up; carries the value that the pool returns. Never leaves this package."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure


def describe(error: BaseException) -> str:
    """One line about ``error`` for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


class Wire(asyncio.Protocol):
    """A connection that talks command by command.

    Attributes:
        host: The host it leads to.
        label: ``name[address]:port`` of it.
        tls: Version and cipher, None without TLS.
        closed: True when it is gone or going; it serves nobody any more.
        gone: True when its transport is gone.
        on_closed: Called once at that moment.
    """

    __slots__ = (
        "_failure",
        "_loop",
        "_parser",
        "_quitting",
        "_stage",
        "_timeouts",
        "_timer",
        "_transport",
        "_waiter",
        "closed",
        "gone",
        "host",
        "label",
        "on_closed",
        "tls",
    )

    _transport: asyncio.Transport

    def __init__(self, host: Host, timeouts: Timeouts) -> None:
        self.host = host
        self.label = str(host)
        self.tls: str | None = None
        self.closed = False
        self.gone = False
        self.on_closed: Callable[[], None] | None = None
        self._loop = asyncio.get_running_loop()
        self._timeouts = timeouts
        self._timer = DeadlineTimer(self._loop, self._expired)
        self._parser = ReplyParser()
        self._failure: Failure | None = None
        self._quitting = False
        self._stage: Command | None = None
        self._waiter: asyncio.Future[RawReply | None] | None = None

    # --- commands ---

    async def greeting(self, seconds: float) -> RawReply:
        """Wait for the server's first words; raises as ``ask``."""
        return await self._answer(Command.CONNECT, seconds)

    async def ask(self, line: bytes, command: Command) -> RawReply:
        """Write ``line`` and wait for its reply.

        Raises:
            SessionFailedError: none came in time, the connection was lost, or it was no SMTP.
        """
        if self._failure is None:
            self._waiter = self._loop.create_future()
            self._transport.write(line + b"\r\n")
        return await self._answer(command, self._timeouts.command)

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Do the handshake after a positive reply to STARTTLS (RFC 3207).

        Raises:
            SessionFailedError: the handshake failed, or octets followed the reply in the same breath: those would
                count as said under TLS although anybody on the way could have put them there (CVE-2011-0411).
        """
        self._stage = Command.STARTTLS
        if self._parser.pending:
            self.fail(self._unreachable(UnreachableKind.PROTOCOL, "plain text after the reply to STARTTLS"))
        if self._failure is not None:
            raise SessionFailedError(self._failure)
        self._timer.cancel()
        text, problem = "connection lost", TlsProblem.HANDSHAKE
        try:
            upgraded = await self._loop.start_tls(
                self._transport,
                self,
                context,
                server_hostname=self.host.shows,
                ssl_handshake_timeout=self._timeouts.tls,
                ssl_shutdown_timeout=TLS_SHUTDOWN,
            )
        except OSError as error:  # ssl.SSLError and the handshake's timeout are such
            upgraded, text, problem = None, describe(error), read_problem(error)
        if upgraded is None or self.closed:
            failure = replace(self._unreachable(UnreachableKind.TLS, f"TLS handshake: {text}"), tls=problem)
            self.fail(failure)
            raise SessionFailedError(failure)
        self._transport = upgraded
        self._note_tls()

    def certificates(self) -> list[bytes]:
        """What the server showed in the handshake, its own first, as DER; empty without TLS."""
        session = self._transport.get_extra_info("ssl_object")
        return [] if session is None else chain_of(session)

    # --- endings ---

    def fail(self, failure: Failure) -> None:
        """End the connection at once; whoever waits for it gets ``failure``. The first failure stays."""
        if self._failure is None:
            self._failure = failure
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        self.abort()

    def abort(self) -> None:
        """Drop the connection without a word."""
        self.closed = True
        self._timer.cancel()
        self._transport.abort()

    def quit(self) -> None:
        """Say QUIT and close when it is answered, or after a few seconds."""
        if not self.closed:
            self.closed = self._quitting = True
            self._transport.write(b"QUIT\r\n")
            self._timer.set(self._timeouts.quit)

    def hang_up(self) -> None:
        """Say QUIT to a server that did not want us, and close without waiting for its answer."""
        if not self.closed:
            self._transport.write(b"QUIT\r\n")
            if self.tls is None:
                self.closed = True
                self._timer.cancel()
                self._transport.close()
            else:
                self.abort()

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready for the greeting, which may come before anybody asks; with implicit TLS the handshake is done."""
        self._waiter = self._loop.create_future()
        self._transport = transport  # type: ignore[assignment]  # a stream's transport is a Transport
        self._note_tls()

    def data_received(self, data: bytes) -> None:
        """Hand each complete reply to whom it answers."""
        for raw in self._parser.feed(data):
            self._replied(raw)
        if self._parser.broken is not None and not self.closed:
            self.fail(self._unreachable(UnreachableKind.PROTOCOL, self._parser.broken))

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone."""
        if not self.closed:
            self.fail(
                self._unreachable(UnreachableKind.LOST, describe(exc) if exc else "connection closed by the server")
            )
        self._timer.cancel()
        self.gone = True
        on_closed, self.on_closed = self.on_closed, None
        if on_closed is not None:
            on_closed()

    # --- inside ---

    async def _answer(self, command: Command, seconds: float) -> RawReply:
        self._stage = command
        reply = None
        if self._waiter is not None:
            self._timer.set(seconds)
            reply = await self._waiter
            self._waiter = None
        if reply is not None:
            return reply
        raise SessionFailedError(self._failure or self._unreachable(UnreachableKind.LOST, "connection lost"))

    def _replied(self, raw: RawReply) -> None:
        """One reply came outside a transaction."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(raw)
        elif self._quitting:
            self._transport.close()
        elif self.closed:
            return
        elif raw.code == SERVICE_CLOSING:
            self.fail(to_reply(raw, self._stage or Command.CONNECT))
        else:
            self.fail(self._unreachable(UnreachableKind.PROTOCOL, "a reply to no command"))

    def _expired(self) -> None:
        if self.closed:
            self._transport.abort()
        elif self._waiter is not None and not self._waiter.done():
            self.fail(self._unreachable(UnreachableKind.TIMEOUT, "no answer in time"))
        else:
            self.quit()

    def _unreachable(self, kind: UnreachableKind, text: str) -> Unreachable:
        return Unreachable(kind, text, self.label, self._stage)

    def _note_tls(self) -> None:
        session = self._transport.get_extra_info("ssl_object")
        if session is not None:
            self.tls = f"{session.version()} {session.cipher()[0]}"
