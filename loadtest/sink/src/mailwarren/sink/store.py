"""The witness: counts everything that happened, keeps the records, and answers for both."""

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum

import msgspec

from mailwarren.sink.ledger import Ledger
from mailwarren.sink.mailbox import Mail, Mailbox
from mailwarren.sink.message import as_text
from mailwarren.sink.persona import Stage
from mailwarren.sink.policy import Recipient
from mailwarren.sink.records import Records
from mailwarren.sink.sites import Site, Sites

_ACCEPTED = 250


class Mode(StrEnum):
    """How much is kept of what arrives.

    ``full``: the newest mails whole, a record of every final dot, and the ledger with its names; ``counting``: the
    ledger by digests, for runs of millions; ``bare``: the counts alone, so that nobody can tell duplicates.
    """

    FULL = "full"
    COUNTING = "counting"
    BARE = "bare"


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
        duplicates: copies accepted beyond the first of their pair. This and ``unique`` are null in mode ``bare``.
        mails: final dots, however many recipients each had; ``bytes``: their octets.
        without_message_id: mails that had none; in pairs their Message-ID is empty.
        by_code: replies to the dot and refusals, by code.
        protocol_errors: commands out of order, unknown or malformed, by code: a correct client makes none.
        resets: connections that the script reset, by stage.
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
    unique: int | None
    duplicates: int | None
    without_message_id: int
    bytes: int
    connections: int
    connections_open: int
    by_code: dict[int, int]
    refused_by_stage: dict[str, int]
    by_domain: dict[str, DomainCount]
    resets: dict[str, int]
    protocol_errors: dict[int, int]
    faults: dict[str, int]


class Ticket(msgspec.Struct, frozen=True, gc=False):
    """One final dot, to be answered or lost once; ``epoch`` tells a store that was emptied meanwhile.

    ``numbers`` are of its records, or in mode ``counting`` of the ledger's entries.
    """

    epoch: int
    mail: int
    code: int
    numbers: Sequence[int]
    domains: tuple[bytes, ...]
    sites: tuple[Site, ...]


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
    sites: tuple[Site, ...] = ()


class Store:
    """All that the sink knows. Not thread-safe: it belongs to the loop that serves SMTP."""

    def __init__(self, keep: int = 20_000, mode: Mode = Mode.FULL) -> None:
        self.mode = mode
        self.sites = Sites()
        self._keep = keep if mode is Mode.FULL else 0
        self._epoch = 0
        self.connections = 0
        self.connections_open = 0
        self._begin()

    def _begin(self) -> None:
        self.ledger = Ledger(names=self.mode is Mode.FULL)
        self.records = Records(self.ledger)
        self.mailbox = Mailbox(self._keep)
        self._mails = self._received = self._accepted = self._unanswered = self._pending = self._bytes = 0
        self._dropped_mid_data = self._dropped_after_dot = self._lost_in_data = self._without_id = 0
        self._by_code: Counter[int] = Counter()
        self._refused: Counter[Stage] = Counter()
        self._resets: Counter[Stage] = Counter()
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
        self.sites.forget()
        return mails

    def receive(self, delivery: Delivery) -> Ticket:
        """Record a mail whose final dot has just been read. Its answer is owed until ``answer`` or ``lose``."""
        d = delivery
        count = len(d.recipients)
        first = len(self.records)
        domains = tuple([r.domain for r in d.recipients])
        for domain in domains:
            counts = self._domain(domain)
            counts.received += 1
            counts.unanswered += 1
        if self._keep:
            addresses = tuple([r.address for r in d.recipients])
            self.mailbox.add(
                Mail(self._mails, d.message_id, d.sender, addresses, d.received_at, d.code, d.size, first, d.content)
            )
        ticket = Ticket(self._epoch, self._mails, d.code, self._write_down(d), domains, d.sites)
        for site in d.sites:
            site.receive(d.size, d.received_at)
        self._mails += 1
        self._received += count
        self._bytes += d.size
        self._unanswered += count
        self._pending += count
        self._without_id += not d.message_id
        for fault in d.faults:
            self._faults[fault] += 1
        return ticket

    def _write_down(self, d: Delivery) -> Sequence[int]:
        """Enter each recipient into what this mode keeps; returns the numbers for the ticket."""
        match self.mode:
            case Mode.FULL:
                return [
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
                    for recipient in d.recipients
                ]
            case Mode.COUNTING:
                taken = d.code == _ACCEPTED
                return [
                    self.ledger.see(d.message_id, recipient.address, d.received_at, taken=taken)
                    for recipient in d.recipients
                ]
            case Mode.BARE:
                return ()

    def answer(self, ticket: Ticket, at: float) -> None:
        """The reply to this final dot was given to an open socket, at wall-clock time ``at``."""
        if ticket.epoch != self._epoch:
            return
        count, code = len(ticket.domains), ticket.code
        if self.mode is Mode.FULL:
            for number in ticket.numbers:
                self.records.answered(number, at)
        elif code == _ACCEPTED:
            for number in ticket.numbers:
                self.ledger.accept(number)
        for domain in ticket.domains:
            counts = self._domains[domain]
            counts.unanswered -= 1
            if code == _ACCEPTED:
                counts.accepted += 1
            else:
                counts.refused += 1
        for site in ticket.sites:
            site.answer(code, at)
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

    def refuse(
        self, stage: Stage, code: int, domains: Sequence[bytes] = (), *, sites: Sequence[Site] = (), now: float = 0.0
    ) -> None:
        """A refusal before the final dot: of these recipients, or of one command when none is known."""
        count = len(domains) or 1
        self._refused[stage] += count
        self._by_code[code] += count
        for domain in domains:
            self._domain(domain).refused += 1
        for site in sites:
            site.answer(code, now)

    def reset(self, stage: Stage) -> None:
        """The script reset a connection."""
        self._resets[stage] += 1

    def misuse(self, code: int) -> None:
        """A reply to a command that broke the protocol."""
        self._errors[code] += 1

    def stats(self) -> Stats:
        """A copy of all counts."""
        refused = {stage.value: self._refused[stage] for stage in Stage}
        return Stats(
            mails=self._mails,
            received=self._received,
            accepted=self._accepted,
            refused=sum(refused.values()),
            unanswered=self._unanswered,
            pending=self._pending,
            dropped=self._dropped_mid_data + self._dropped_after_dot,
            dropped_mid_data=self._dropped_mid_data,
            dropped_after_dot=self._dropped_after_dot,
            lost_in_data=self._lost_in_data,
            unique=None if self.mode is Mode.BARE else self.ledger.unique,
            duplicates=None if self.mode is Mode.BARE else self.ledger.duplicates,
            without_message_id=self._without_id,
            bytes=self._bytes,
            connections=self.connections,
            connections_open=self.connections_open,
            by_code=dict(sorted(self._by_code.items())),
            refused_by_stage=refused,
            by_domain={as_text(d): msgspec.structs.replace(c) for d, c in self._domains.items()},
            resets={stage.value: count for stage, count in sorted(self._resets.items())},
            protocol_errors=dict(sorted(self._errors.items())),
            faults=dict(self._faults),
        )

    def _domain(self, domain: bytes) -> DomainCount:
        counts = self._domains.get(domain)
        if counts is None:
            counts = self._domains[domain] = DomainCount()
        return counts
