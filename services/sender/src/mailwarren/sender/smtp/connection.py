"""One connection to a mail server that carries transactions, one after the other."""

import asyncio
import time
from collections.abc import Callable

from mailwarren.contracts.reply import Command, Reply
from mailwarren.sender.smtp.capabilities import Capabilities
from mailwarren.sender.smtp.dialogue import (
    Step,
    Transaction,
    check_sendable,
    mail_parameters,
    message_size,
    shuts_out,
)
from mailwarren.sender.smtp.envelope import Envelope
from mailwarren.sender.smtp.replies import RawReply, to_reply
from mailwarren.sender.smtp.result import Abandoned, Failure, Outcome, Unreachable, UnreachableKind
from mailwarren.sender.smtp.site import Host
from mailwarren.sender.smtp.timeouts import Timeouts
from mailwarren.sender.smtp.wire import Wire

BLOCK = 64 * 1024
"""Octets of a message written at once; a larger one waits for the transport between its blocks."""

MaySend = Callable[[], bool]
"""The gate: asked once per attempt, right before message data is written. It must be quick."""


class Connection(Wire):
    """A connection driven by callbacks: one future per mail, no task, no timer of its own per command.

    Attributes:
        route: The ``Site.route`` that it may serve.
        capabilities: What the server offers.
        messages: Transactions begun.
        shut: True when the server takes no more mail on it.
        kept: True when it has been used or has rested, so that the server may have given it up meanwhile.
        turns: Mails it got out of turn since it last served the head of the line (the pool's count).
        data_started: True when the gate of the last transaction has opened.
        dot_at: When the final dot of the last transaction was written (``time.time()``).
        replied_at: When the deciding reply of the last transaction came (``time.time()``).
    """

    __slots__ = (
        "_data",
        "_may_send",
        "_outcome",
        "_paused",
        "_reset",
        "_transaction",
        "_unwritten",
        "capabilities",
        "data_started",
        "dot_at",
        "kept",
        "messages",
        "replied_at",
        "route",
        "shut",
        "turns",
    )

    _outcome: asyncio.Future[Outcome]
    _may_send: MaySend

    def __init__(self, host: Host, route: str, timeouts: Timeouts) -> None:
        super().__init__(host, timeouts)
        self.route = route
        self.capabilities = Capabilities()
        self.messages = 0
        self.kept = False
        self.shut = False
        self.turns = 0
        self.data_started = False
        self.dot_at: float | None = None
        self.replied_at: float | None = None
        self._transaction: Transaction | None = None
        self._data = b""
        self._unwritten: memoryview | None = None
        self._paused = False
        self._reset = False

    async def transact(self, envelope: Envelope, data: bytes, may_send: MaySend) -> Outcome:
        """Send one mail; ``data`` is in wire form (``prepare_data``).

        Cancelling it drops the connection; the outcome is then unknown when ``dot_at`` is set.

        Raises:
            Exception: whatever ``may_send`` raised; the connection is dropped and no data was written.
        """
        self.data_started = False
        self.dot_at = self.replied_at = None
        capabilities = self.capabilities
        self._stage = Command.MAIL
        if self.closed:
            return self._unreachable(UnreachableKind.LOST, "connection closed by the server")
        refused = check_sendable(capabilities, envelope, message_size(data))
        if refused is not None:
            return refused
        self.messages += 1
        self._data = data
        self._may_send = may_send
        self._outcome = self._loop.create_future()
        self._transaction = transaction = Transaction(
            envelope,
            mail_parameters(capabilities, envelope, data),
            pipelined=capabilities.pipelining,
            reset=self._reset,
        )
        self._timer.set(self._timeouts.command)
        self._transport.write(transaction.start())
        try:
            return await self._outcome
        except BaseException:
            self._transaction = None
            self._unwritten = None
            self.abort()
            raise

    def rest(self, idle: float) -> None:
        """Wait for the next transaction; QUIT after ``idle`` seconds without one."""
        self._timer.set(idle)

    def cut(self) -> None:
        """Drop the connection because the pool closes; a mail whose data was not all written is abandoned."""
        if self._transaction is not None and self.dot_at is None:
            self._finish(Abandoned())
            self.abort()
        else:
            self.fail(self._unreachable(UnreachableKind.LOST, "closed by us before the reply"))

    def fail(self, failure: Failure) -> None:
        """End the connection; an earlier answer of the server for this recipient outlives it."""
        transaction = self._transaction
        if transaction is not None:
            self._finish(transaction.decided or failure)
        super().fail(failure)

    def pause_writing(self) -> None:
        """The transport has enough."""
        self._paused = True

    def resume_writing(self) -> None:
        """The transport wants more."""
        self._paused = False
        if self._unwritten is not None:
            self._write_blocks()

    def _replied(self, raw: RawReply) -> None:
        transaction = self._transaction
        if transaction is None:
            super()._replied(raw)
            return
        if self._unwritten is not None:
            self._answered_too_soon(raw)
            return
        step = transaction.advance(raw)
        if step is Step.WAIT:
            self._timer.set(self._timeouts.command)
        elif step is Step.SEND_DATA:
            self._send_data()
        elif isinstance(step, bytes):
            self._timer.set(self._timeouts.command)
            self._transport.write(step)
        else:
            self._decided(transaction, step)

    def _decided(self, transaction: Transaction, step: Step) -> None:
        self._reset = transaction.unfinished
        if transaction.decided is None:
            self.fail(self._unreachable(UnreachableKind.PROTOCOL, transaction.nonsense or "no answer"))
            return
        self._finish(transaction.decided)
        if step is Step.DROP:
            self.abort()

    def _send_data(self) -> None:
        if self._outcome.done():
            return  # cancelled a moment ago; the task that was cancelled drops the connection
        try:
            allowed = self._may_send()
        except Exception as error:  # noqa: BLE001  # it belongs to the task that awaits the outcome
            self._transaction = None
            self._outcome.set_exception(error)
            self.abort()
            return
        if not allowed:
            # A lone dot would deliver an empty mail: only hanging up takes DATA back.
            self._finish(Abandoned())
            self.abort()
            return
        self.data_started = True
        data = self._data
        if len(data) <= BLOCK:
            self._transport.write(data)
            self._dot_written()
        else:
            self._unwritten = memoryview(data)
            self._write_blocks()

    def _write_blocks(self) -> None:
        """Write until the transport has enough; each step forward gives the server a new data-block timeout."""
        rest = self._unwritten
        while rest and not self._paused:
            self._transport.write(rest[:BLOCK])
            rest = rest[BLOCK:]
        if rest:
            self._unwritten = rest
            self._timer.set(self._timeouts.data_block)
        else:
            self._unwritten = None
            self._dot_written()

    def _dot_written(self) -> None:
        self.dot_at = time.time()
        self._timer.set(self._timeouts.final_dot)

    def _answered_too_soon(self, raw: RawReply) -> None:
        """A reply in the middle of the message: a refusal counts, but what follows on this connection is undefined."""
        reply = to_reply(raw, Command.DOT)
        if reply.transient or reply.permanent:
            self._finish(reply)
            self.abort()
        else:
            self.fail(self._unreachable(UnreachableKind.PROTOCOL, "a positive reply before the end of the message"))

    def _finish(self, outcome: Outcome) -> None:
        """End the transaction and give ``outcome`` to the task that waits for it."""
        if isinstance(outcome, Reply):
            self.replied_at = time.time()
            self.shut = shuts_out(outcome)
        self._transaction = None
        self._unwritten = None
        self._data = b""
        if not self._outcome.done():
            self._outcome.set_result(outcome)

    def _expired(self) -> None:
        if self._transaction is not None and not self.closed:
            self.fail(self._unreachable(UnreachableKind.TIMEOUT, "no answer in time"))
        else:
            super()._expired()

    def _unreachable(self, kind: UnreachableKind, text: str) -> Unreachable:
        transaction = self._transaction
        command = self._stage if transaction is None else transaction.command
        return Unreachable(kind, text, self.label, command, dot_sent=self.dot_at is not None)
