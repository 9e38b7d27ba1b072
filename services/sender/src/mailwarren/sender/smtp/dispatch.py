"""A mail given to a connection: what it needs, how far it has come, what became of it."""

import asyncio
import time

from mailwarren.contracts.reply import Reply
from mailwarren.sender.smtp.dialogue import Transaction
from mailwarren.sender.smtp.envelope import WireData
from mailwarren.sender.smtp.result import MaySend, Outcome


class Dispatch:
    """A transaction with its data and its end; compares by identity.

    Attributes:
        transaction: The state machine.
        data: The message in wire form.
        may_send: The gate.
        written: True when the envelope is on its way.
        began: When the connection was its own (``time.monotonic()``).
        data_started: True when the gate has opened.
        dot_at: When the final dot was written (``time.time()``).
        replied_at: When the deciding reply came (``time.time()``).
        done: The outcome.
    """

    __slots__ = ("began", "data", "data_started", "done", "dot_at", "may_send", "replied_at", "transaction", "written")

    def __init__(
        self,
        transaction: Transaction,
        data: WireData,
        may_send: MaySend,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.transaction = transaction
        self.data: WireData = data
        self.may_send = may_send
        self.written = False
        self.began = time.monotonic()
        self.data_started = False
        self.dot_at: float | None = None
        self.replied_at: float | None = None
        self.done: asyncio.Future[Outcome] = loop.create_future()

    @property
    def outcome(self) -> Outcome:
        """What became of it, once ``done`` is."""
        return self.done.result()

    def finish(self, outcome: Outcome) -> None:
        """Give ``outcome`` to the task that waits for it; the first one counts."""
        self.data = b""
        if self.done.done():
            return
        if isinstance(outcome, Reply):
            self.replied_at = time.time()
        self.done.set_result(outcome)
