"""One connection to a mail server that carries transactions, one after the other."""

import time
from collections import deque

from mailwarren.contracts.reply import Command
from mailwarren.sender.smtp.capabilities import Capabilities
from mailwarren.sender.smtp.dialogue import (
    Step,
    Transaction,
    check_sendable,
    mail_parameters,
    message_size,
    shuts_out,
)
from mailwarren.sender.smtp.dispatch import Dispatch
from mailwarren.sender.smtp.envelope import Envelope, WireData, has_utf8_fields, prepare_chunk
from mailwarren.sender.smtp.replies import RawReply, to_reply
from mailwarren.sender.smtp.result import Abandoned, Failure, MaySend, Negotiated, Unreachable, UnreachableKind
from mailwarren.sender.smtp.site import Host
from mailwarren.sender.smtp.timeouts import Timeouts
from mailwarren.sender.smtp.wire import Wire

BLOCK = 64 * 1024
"""Octets of a message written at once; a larger one waits for the transport between its blocks."""


class Connection(Wire):
    """A connection driven by callbacks: one future per mail, no task, no timer of its own per command.

    It may be given more mails while it has one. Where the server offers PIPELINING, the envelope of the next goes out
    behind the data of the current one, in the same write where that is possible (RFC 2920 §3.1: message content may be
    the first item of a group): a mail costs one round trip instead of two. That envelope begins with RSET, so that
    nothing of the transaction before it, however it ends, can become part of it.

    Attributes:
        route: The ``Site.route`` that it may serve.
        capabilities: What the server offers.
        messages: Transactions begun.
        pace: Seconds that its last transaction took.
        promised: Mails that have it now (the pool's count).
        shut: True when the server takes no more mail on it.
        kept: True when it has been used or has rested, so that the server may have given it up meanwhile.
        turns: Mails it got out of turn since it last served the head of the line (the pool's count).
        rule: The rule that its TLS had to keep, as ``Result.tls_policy``.
        negotiated: How TLS was negotiated for it, until the first mail on it tells.
        chunking: True when messages go out by BDAT.
    """

    __slots__ = (
        "_behind",
        "_current",
        "_paused",
        "_reset",
        "_unwritten",
        "capabilities",
        "chunking",
        "kept",
        "messages",
        "negotiated",
        "pace",
        "promised",
        "route",
        "rule",
        "shut",
        "turns",
    )

    def __init__(self, host: Host, route: str, timeouts: Timeouts) -> None:
        super().__init__(host, timeouts)
        self.route = route
        self.capabilities = Capabilities()
        self.messages = 0
        self.pace = 0.0
        self.promised = 0
        self.kept = False
        self.shut = False
        self.turns = 0
        self.rule: str | None = None
        self.negotiated: tuple[Negotiated, ...] = ()
        self.chunking = False
        self._current: Dispatch | None = None
        self._behind: deque[Dispatch] = deque()
        self._unwritten: deque[memoryview] | None = None
        self._paused = False
        self._reset = False

    async def transact(self, envelope: Envelope, data: WireData, may_send: MaySend) -> Dispatch:
        """Send one mail, at once or behind the one that is under way; ``data`` is in wire form (``prepare_data``).

        Cancelling it drops the connection as soon as that takes nothing from another mail; the outcome is then unknown
        when ``dot_at`` is set.

        Raises:
            Exception: whatever ``may_send`` raised; the connection is dropped and no data was written.
        """
        capabilities = self.capabilities
        behind = self._current is not None
        utf8_fields = has_utf8_fields(data)
        transaction = Transaction(
            envelope,
            mail_parameters(capabilities, envelope, data, utf8_fields=utf8_fields),
            pipelined=capabilities.pipelining,
            reset=behind or self._reset,
            chunked=self.chunking,
        )
        dispatch = Dispatch(transaction, prepare_chunk(data) if self.chunking else data, may_send, self._loop)
        refused = check_sendable(capabilities, envelope, message_size(data), utf8_fields=utf8_fields)
        if self.closed:
            dispatch.finish(self._failure_of(dispatch, UnreachableKind.LOST, "connection closed by the server"))
        elif refused is not None:
            dispatch.finish(refused)
        else:
            self.messages += 1
            if behind:
                self._behind.append(dispatch)
                self._write_behind()
            else:
                self._begin(dispatch)
            try:
                await dispatch.done
            except BaseException:
                self._forsake(dispatch)
                raise
        return dispatch

    def rest(self, idle: float) -> None:
        """Wait for the next transaction; QUIT after ``idle`` seconds without one."""
        self._timer.set(idle)

    def cut(self) -> None:
        """Drop the connection because the pool closes; a mail whose data was not all written is abandoned."""
        for following in self._behind:
            following.finish(Abandoned())
        current = self._current
        if current is not None and current.dot_at is None:
            self._current = None
            current.finish(Abandoned())
            self.abort()
        else:
            self.fail(self._unreachable(UnreachableKind.LOST, "closed by us before the reply"))

    def fail(self, failure: Failure) -> None:
        """End the connection; an earlier answer of the server for this recipient outlives it."""
        current, self._current = self._current, None
        if current is not None:
            current.finish(current.transaction.decided or failure)
        super().fail(failure)

    def abort(self) -> None:
        """Drop the connection without a word; those behind the current mail have lost it before their data."""
        self._unwritten = None
        super().abort()
        while self._behind:
            following = self._behind.popleft()
            following.finish(self._failure_of(following, UnreachableKind.LOST, "lost behind another mail"))

    def pause_writing(self) -> None:
        """The transport has enough."""
        self._paused = True

    def resume_writing(self) -> None:
        """The transport wants more."""
        self._paused = False
        if self._unwritten is not None:
            self._write_blocks()

    # --- inside ---

    def _begin(self, dispatch: Dispatch) -> None:
        self._current = dispatch
        dispatch.written = True
        dispatch.began = time.monotonic()
        self._timer.set(self._timeouts.stages[dispatch.transaction.stage])
        self._transport.write(dispatch.transaction.start())

    def _write_behind(self) -> None:
        """Write the next envelope if all data of the current mail has been written."""
        if self._current is not None and self._current.dot_at is not None:
            self._transport.write(self._next_envelope())

    def _next_envelope(self) -> bytes:
        """What may go out behind the data of the current mail; empty when nothing may."""
        if not self._behind or self._behind[0].written or not self.capabilities.pipelining:
            return b""
        self._behind[0].written = True
        return self._behind[0].transaction.start()

    def _follow(self) -> None:
        """The current mail is done: it is the next one's turn, whose envelope may be on its way."""
        self._current = None
        if not self._behind:
            return
        following = self._behind.popleft()
        if following.done.done():
            self.abort()
        elif following.written:
            self._current = following
            following.began = time.monotonic()
            self._timer.set(self._timeouts.stages[following.transaction.stage])
        else:
            self._begin(following)

    def _forsake(self, dispatch: Dispatch) -> None:
        """The task that waited for ``dispatch`` was cancelled, or its gate raised."""
        if dispatch is self._current:
            self._current = None
            self.abort()
        elif dispatch in self._behind and not dispatch.written:
            self._behind.remove(dispatch)
        # An envelope that is on its way behind another mail is dropped when its turn comes (``_follow``).

    def _replied(self, raw: RawReply) -> None:
        current = self._current
        if current is None:
            super()._replied(raw)
            return
        if self._unwritten is not None:
            self._answered_too_soon(current, raw)
            return
        step = current.transaction.advance(raw)
        if step is Step.WAIT:
            self._timer.set(self._timeouts.stages[current.transaction.stage])
        elif step is Step.SEND_DATA:
            self._send_data(current)
        elif isinstance(step, bytes):
            self._timer.set(self._timeouts.stages[current.transaction.stage])
            self._transport.write(step)
        else:
            self._decided(current, step)

    def _decided(self, current: Dispatch, step: Step) -> None:
        transaction = current.transaction
        self._reset = transaction.unfinished
        if transaction.decided is None:
            problem = transaction.nonsense or "no answer"
            self.fail(self._unreachable(UnreachableKind.PROTOCOL, problem))
            return
        self.shut = self.shut or shuts_out(transaction.decided)
        self.pace = time.monotonic() - current.began
        current.finish(transaction.decided)
        if step is Step.DROP:
            self._current = None
            self.abort()
        else:
            self._follow()

    def _send_data(self, current: Dispatch) -> None:
        if current.done.done():
            return  # cancelled a moment ago; the task that was cancelled drops the connection
        try:
            allowed = current.may_send()
        except Exception as error:  # noqa: BLE001  # it belongs to the task that awaits the outcome
            self._current = None
            current.done.set_exception(error)
            self.abort()
            return
        if not allowed:
            # A lone dot would deliver an empty mail: only hanging up takes DATA back.
            self._current = None
            current.finish(Abandoned())
            self.abort()
            return
        current.data_started = True
        data = current.data
        if not isinstance(data, bytes) or len(data) > BLOCK:
            parts = [data] if isinstance(data, bytes) else data.parts
            self._unwritten = deque(memoryview(part) for part in parts if part)
            self._write_blocks()
            return
        self._transport.write(data + self._next_envelope())
        self._dot_written(current)

    def _write_blocks(self) -> None:
        """Write until the transport has enough; each step forward gives the server a new data-block timeout."""
        rest = self._unwritten
        while rest and not self._paused:
            part = rest.popleft()
            self._transport.write(part[:BLOCK])
            if len(part) > BLOCK:
                rest.appendleft(part[BLOCK:])
        if rest:
            self._timer.set(self._timeouts.data_block)
            return
        self._unwritten = None
        if self._current is not None:
            self._dot_written(self._current)
            self._write_behind()

    def _dot_written(self, current: Dispatch) -> None:
        current.dot_at = time.time()
        self._timer.set(self._timeouts.final_dot)

    def _answered_too_soon(self, current: Dispatch, raw: RawReply) -> None:
        """A reply in the middle of the message: a refusal counts, but what follows on this connection is undefined."""
        reply = to_reply(raw, Command.DOT)
        if reply.transient or reply.permanent:
            self._current = None
            current.finish(reply)
            self.abort()
        else:
            problem = "a positive reply before the end of the message"
            self.fail(self._unreachable(UnreachableKind.PROTOCOL, problem))

    def _expired(self) -> None:
        if self._current is not None and not self.closed:
            self.fail(self._unreachable(UnreachableKind.TIMEOUT, "no answer in time"))
        else:
            super()._expired()

    def _unreachable(self, kind: UnreachableKind, text: str) -> Unreachable:
        current = self._current
        return super()._unreachable(kind, text) if current is None else self._failure_of(current, kind, text)

    def _failure_of(self, dispatch: Dispatch, kind: UnreachableKind, text: str) -> Unreachable:
        return Unreachable(kind, text, self.label, dispatch.transaction.command, dot_sent=dispatch.dot_at is not None)
