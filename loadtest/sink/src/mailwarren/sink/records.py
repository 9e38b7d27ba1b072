"""The records: one for each recipient of each mail whose final dot was received, in columns, for runs of a million.

A column costs 2 to 8 octets a record, and Message-ID and recipient are kept once, in the ledger; objects are made only
for what is read.
"""

from array import array
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from mailwarren.sink.ledger import Ledger
from mailwarren.sink.message import as_text

_ACCEPTED = 250


class Record(msgspec.Struct, frozen=True):
    """One recipient of one mail whose final dot was received.

    Args:
        n: number of the record, from 0.
        mail: number of the mail, from 0; equal for all recipients of one transaction.
        message_id: the Message-ID header; empty when the mail has none.
        rcpt: the RCPT TO address, as given.
        received_at: wall-clock time of the final dot, seconds since the epoch.
        answered_at: when the reply to it was given to the open socket; null while it waits, and for ever when the
            connection was lost or cut before.
        code: the reply: what was said, or would have been said (250 when the script cut the connection).
        size: octets of the mail.
        connection: number of the connection, from 1.
        port: the client's TCP port.
    """

    n: int
    mail: int
    message_id: str
    rcpt: str
    received_at: float
    answered_at: float | None
    code: int
    size: int
    connection: int
    port: int


class Pair(NamedTuple):
    """A (Message-ID, recipient) and its copies: ``accepted`` was answered with 250, ``unanswered`` was not (yet)."""

    message_id: str
    rcpt: str
    accepted: int
    unanswered: int


class Records:
    """Append-only columns of records over a ledger that keeps names."""

    def __init__(self, ledger: Ledger | None = None) -> None:
        self.ledger = Ledger(names=True) if ledger is None else ledger
        self._entry = array("I")
        self._received = array("d")
        self._answered = array("d")  # 0.0: no answer
        self._code = array("H")
        self._size = array("Q")
        self._mail = array("I")
        self._connection = array("I")
        self._port = array("H")

    def __len__(self) -> int:
        return len(self._entry)

    @property
    def unique(self) -> int:
        """Pairs with at least one accepted copy."""
        return self.ledger.unique

    def append(
        self,
        message_id: bytes,
        rcpt: bytes,
        *,
        received_at: float,
        code: int,
        size: int,
        mail: int,
        connection: int,
        port: int,
    ) -> int:
        """Add a record without an answer; returns its number."""
        self._entry.append(self.ledger.see(message_id, rcpt, received_at, taken=code == _ACCEPTED))
        self._received.append(received_at)
        self._answered.append(0.0)
        self._code.append(code)
        self._size.append(size)
        self._mail.append(mail)
        self._connection.append(connection)
        self._port.append(port)
        return len(self._entry) - 1

    def answered(self, n: int, at: float) -> int:
        """Record ``n`` was answered at ``at``; returns its code."""
        self._answered[n] = at
        code = self._code[n]
        if code == _ACCEPTED:
            self.ledger.accept(self._entry[n])
        return code

    def answered_at(self, n: int) -> float | None:
        """When record ``n`` was answered."""
        return self._answered[n] or None

    def select(self, start: int, stop: int, *, message_id_prefix: str = "", domain: str = "") -> Iterator[Record]:
        """The records ``start <= n < stop`` that match, in their order."""
        prefix = message_id_prefix.encode()
        ending = b"@" + domain.lower().encode() if domain else b""
        for n in range(max(start, 0), min(stop, len(self._entry))):
            key = self.ledger.key(self._entry[n])
            if key.startswith(prefix) and key.lower().endswith(ending):
                yield self._record(n)

    def pairs(self, start: int, stop: int) -> Iterator[Pair]:
        """The pairs that have a copy, of the ledger's entries ``start <= n < stop``."""
        ledger = self.ledger
        for number in range(max(start, 0), min(stop, len(ledger))):
            if ledger.taken_copies(number):
                entry = ledger.entry(number)
                yield Pair(entry.message_id or "", entry.rcpt or "", entry.accepted, entry.unanswered)

    def _record(self, n: int) -> Record:
        message_id, rcpt = self.ledger.name(self._entry[n])
        return Record(
            n=n,
            mail=self._mail[n],
            message_id=as_text(message_id or b""),
            rcpt=as_text(rcpt or b""),
            received_at=self._received[n],
            answered_at=self._answered[n] or None,
            code=self._code[n],
            size=self._size[n],
            connection=self._connection[n],
            port=self._port[n],
        )
