"""The witness: counts everything that happened, keeps the records, and answers for both."""

from collections import Counter
from collections.abc import Sequence

import msgspec

from mailwarren.sink.mailbox import Mail, Mailbox
from mailwarren.sink.message import as_text
from mailwarren.sink.policy import Recipient
from mailwarren.sink.records import Records
from mailwarren.sink.script import Stage

_ACCEPTED = 250


class DomainCount(msgspec.Struct):
    """Recipients of one domain, by what became of them; see ``Stats``."""

    received: int = 0
    accepted: int = 0
    refused: int = 0
    unanswered: int = 0
    dropped: int = 0


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """What the sink has seen. Everything counts recipients, except where it says otherwise.

    Always true: ``received == accepted + refused_by_stage.dot + unanswered``, ``accepted == unique + duplicates`` and
    ``sum(by_code) == accepted + refused``.

    Args:
        received: the final dot of their mail was received; one record each.
        accepted: that dot was answered with 250, on an open connection.
        refused: got a 4xx or 5xx: at RCPT, at DATA or at the dot for each recipient; at the connection and at MAIL
            one for the command, as no recipient is known there.
        unanswered: received, and the dot was not answered: the connection was lost or cut before (or ``pending``).
        pending: the part of ``unanswered`` whose connection is still open and may yet be answered.
        dropped: the script cut their connection: ``dropped_mid_data`` (never received) plus ``dropped_after_dot``
            (received and unanswered).
        lost_in_data: mails whose connection the client lost inside DATA, before the final dot.
        unique: distinct (Message-ID, RCPT TO) pairs accepted at least once.
        duplicates: copies accepted beyond the first of their pair.
        mails: final dots, however many recipients each had; ``bytes``: their octets.
        without_message_id: mails that had none; in pairs their Message-ID is empty.
        by_code: replies to the dot and refusals, by code.
        protocol_errors: commands out of order, unknown or malformed, by code: a correct client makes none.
        faults: mails with data that a correct client never sends, by kind (``message.wire_faults``).
    """

    mails: int
    received: int
    accepted: int
    refused: int
    unanswered: int
    pending: int
    dropped: int
    dropped_mid_data: int
    dropped_after_dot: int
    lost_in_data: int
    unique: int
    duplicates: int
    without_message_id: int
    bytes: int
    connections: int
    connections_open: int
    by_code: dict[int, int]
    refused_by_stage: dict[str, int]
    by_domain: dict[str, DomainCount]
    protocol_errors: dict[int, int]
    faults: dict[str, int]


class Ticket(msgspec.Struct, frozen=True, gc=False):
    """The records of one final dot, to be answered or lost once; ``epoch`` tells a store that was emptied meanwhile."""

    epoch: int
    mail: int
    first: int
    domains: tuple[bytes, ...]


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """A mail at its final dot, as the dialogue hands it over; ``content`` is the raw mail, ``size`` its octets."""

    sender: bytes
    recipients: Sequence[Recipient]
    message_id: bytes
    content: bytes
    size: int
    received_at: float
    code: int
    connection: int
    port: int
    faults: tuple[str, ...] = ()


class Store:
    """All that the sink knows. Not thread-safe: it belongs to the loop that serves SMTP."""

    def __init__(self, keep: int = 20_000) -> None:
        self._keep = keep
        self._epoch = 0
        self.connections = 0
        self.connections_open = 0
        self._begin()

    def _begin(self) -> None:
        self.records = Records()
        self.mailbox = Mailbox(self._keep)
        self._mails = self._accepted = self._unanswered = self._pending = self._bytes = 0
        self._dropped_mid_data = self._dropped_after_dot = self._lost_in_data = self._without_id = 0
        self._by_code: Counter[int] = Counter()
        self._refused: Counter[Stage] = Counter()
        self._errors: Counter[int] = Counter()
        self._faults: Counter[str] = Counter()
        self._domains: dict[bytes, DomainCount] = {}

    def forget(self) -> int:
        """Empty everything, counters too; returns the number of mails forgotten.

        Connections stay open, uncounted; what they still answer belongs to the time before and is not counted either.
        """
        mails = self._mails
        self._epoch += 1
        self.connections = 0
        self._begin()
        return mails

    def receive(self, delivery: Delivery) -> Ticket:
        """Record a mail whose final dot has just been read. Its answer is owed until ``answer`` or ``lose``."""
        d = delivery
        count = len(d.recipients)
        first = len(self.records)
        domains = tuple([r.domain for r in d.recipients])
        for recipient in d.recipients:
            self.records.append(
                d.message_id,
                recipient.address,
                received_at=d.received_at,
                code=d.code,
                size=d.size,
                mail=self._mails,
                connection=d.connection,
                port=d.port,
            )
            counts = self._domain(recipient.domain)
            counts.received += 1
            counts.unanswered += 1
        if self._keep:
            addresses = tuple([r.address for r in d.recipients])
            self.mailbox.add(
                Mail(self._mails, d.message_id, d.sender, addresses, d.received_at, d.code, d.size, first, d.content)
            )
        ticket = Ticket(self._epoch, self._mails, first, domains)
        self._mails += 1
        self._bytes += d.size
        self._unanswered += count
        self._pending += count
        self._without_id += not d.message_id
        for fault in d.faults:
            self._faults[fault] += 1
        return ticket

    def answer(self, ticket: Ticket, at: float) -> None:
        """The reply to this final dot was given to an open socket, at wall-clock time ``at``."""
        if ticket.epoch != self._epoch:
            return
        count = len(ticket.domains)
        code = 0
        for offset, domain in enumerate(ticket.domains):
            code = self.records.answered(ticket.first + offset, at)
            counts = self._domains[domain]
            counts.unanswered -= 1
            if code == _ACCEPTED:
                counts.accepted += 1
            else:
                counts.refused += 1
        self._pending -= count
        self._unanswered -= count
        self._by_code[code] += count
        if code == _ACCEPTED:
            self._accepted += count
        else:
            self._refused[Stage.DOT] += count

    def lose(self, ticket: Ticket) -> None:
        """The connection was lost before this final dot could be answered: it never will be."""
        if ticket.epoch == self._epoch:
            self._pending -= len(ticket.domains)

    def drop_after_dot(self, ticket: Ticket) -> None:
        """The script cut the connection instead of answering."""
        self.lose(ticket)
        if ticket.epoch == self._epoch:
            self._dropped_after_dot += len(ticket.domains)
            for domain in ticket.domains:
                self._domains[domain].dropped += 1

    def drop_mid_data(self, recipients: Sequence[Recipient]) -> None:
        """The script cut the connection inside DATA."""
        self._dropped_mid_data += len(recipients)
        for recipient in recipients:
            self._domain(recipient.domain).dropped += 1

    def lose_in_data(self) -> None:
        """The client went away inside DATA."""
        self._lost_in_data += 1

    def refuse(self, stage: Stage, code: int, domains: Sequence[bytes] = ()) -> None:
        """A refusal before the final dot: of these recipients, or of one command when none is known."""
        count = len(domains) or 1
        self._refused[stage] += count
        self._by_code[code] += count
        for domain in domains:
            self._domain(domain).refused += 1

    def misuse(self, code: int) -> None:
        """A reply to a command that broke the protocol."""
        self._errors[code] += 1

    def stats(self) -> Stats:
        """A copy of all counts."""
        refused = {stage.value: self._refused[stage] for stage in Stage}
        return Stats(
            mails=self._mails,
            received=len(self.records),
            accepted=self._accepted,
            refused=sum(refused.values()),
            unanswered=self._unanswered,
            pending=self._pending,
            dropped=self._dropped_mid_data + self._dropped_after_dot,
            dropped_mid_data=self._dropped_mid_data,
            dropped_after_dot=self._dropped_after_dot,
            lost_in_data=self._lost_in_data,
            unique=self.records.unique,
            duplicates=self._accepted - self.records.unique,
            without_message_id=self._without_id,
            bytes=self._bytes,
            connections=self.connections,
            connections_open=self.connections_open,
            by_code=dict(sorted(self._by_code.items())),
            refused_by_stage=refused,
            by_domain={as_text(d): msgspec.structs.replace(c) for d, c in self._domains.items()},
            protocol_errors=dict(sorted(self._errors.items())),
            faults=dict(self._faults),
        )

    def _domain(self, domain: bytes) -> DomainCount:
        counts = self._domains.get(domain)
        if counts is None:
            counts = self._domains[domain] = DomainCount()
        return counts
