"""The ledger (DESIGN §2.3): four counts that no one derives from another, and what becomes of them. No I/O.

The client's count is the ids in the API's answers, Postgres' the rows by state, the sink's the (Message-ID, recipient)
pairs that it answered with 250, the broker's the messages in its queues. Nothing is computed as a remainder: every
number is counted, and every disagreement is named by the mail that it is about.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from mailwarren.contracts.lanes import Lane
from mailwarren.store.states import State

ENDS = (State.DELIVERED, State.BOUNCED, State.FAILED, State.EXPIRED, State.SUPPRESSED, State.CANCELED)
"""The ends that a mail of the demo may come to. ``held`` is none: a held mail waits for a person."""


class Accepted(NamedTuple):
    """The API's yes to a row: the id that it gave, and what the client asked for. ``address``: as the envelope's."""

    id: UUID
    row: int
    lane: Lane
    address: str


class Entry(NamedTuple):
    """A delivery in Postgres with its email's Message-ID (no brackets; empty until the acceptance is recorded).

    ``last`` is its last reply or trouble in words.
    """

    id: UUID
    email_id: UUID
    address: str
    lane: str
    state: str
    message_id: str
    attempt: int = 0
    last: str = ""


class Copies(NamedTuple):
    """A pair at the sink: its copies answered with 250, and those whose final dot was never answered."""

    message_id: str
    address: str
    answered: int
    unanswered: int


class Depths(NamedTuple):
    """Messages in the broker: in queues that belong to a lane, in queues that all lanes share, parked in this run."""

    lanes: Mapping[Lane, int]
    shared: int = 0
    parked: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.lanes.values()) + self.shared + self.parked


class Fault(StrEnum):
    """A disagreement, in the words of the verdict."""

    NO_ANSWER = "posted, without an answer from the API"
    SAME_ID = "with an id that another row has too"
    NO_ROW = "accepted, without a row in Postgres"
    SEVERAL_ROWS = "with several rows in Postgres"
    OTHER_LANE = "recorded in another lane than they were posted in"
    OTHER_ADDRESS = "recorded for another address than they were posted for"
    NO_ACCEPTANCE = "with an outcome in Postgres and no acceptance"
    NO_END = "without an end"
    NOT_AT_SINK = "delivered, and not at the sink"
    AT_SINK = "at the sink, and not delivered"
    UNKNOWN_ROW = "in Postgres, and not in the API's answers"
    STRAY = "at the sink, and belonging to no row"
    IN_BROKER = "messages still in the broker"


class Finding(NamedTuple):
    """One mail (or one queue count) that something is wrong or peculiar about. ``subject`` names it for a person."""

    lane: Lane | None
    subject: str
    detail: str


@dataclass(slots=True)
class LaneCounts:
    """One line of the ledger."""

    accepted: int = 0
    states: Counter[State] = field(default_factory=Counter)
    in_broker: int = 0
    at_sink: int = 0
    duplicates: int = 0
    lost: int = 0

    def __add__(self, other: "LaneCounts") -> "LaneCounts":
        """The sum of two lines."""
        return LaneCounts(
            self.accepted + other.accepted,
            self.states + other.states,
            self.in_broker + other.in_broker,
            self.at_sink + other.at_sink,
            self.duplicates + other.duplicates,
            self.lost + other.lost,
        )


@dataclass(slots=True)
class Ledger:
    """The lines by lane, the line for all, and what was found. ``duplicates`` and ``unanswered`` are no faults.

    ``unanswered`` are copies whose final dot the sink left without an answer: the sender could not know that they
    had arrived.
    """

    lanes: dict[Lane, LaneCounts]
    total: LaneCounts
    faults: dict[Fault, list[Finding]]
    duplicates: list[Finding]
    unanswered: list[Finding]

    @property
    def balances(self) -> bool:
        """Nothing is lost, nothing invented, nothing left."""
        return not self.faults

    @property
    def verdict(self) -> str:
        """The last line of the demo."""
        if self.balances:
            return "LEDGER BALANCES"
        counts = {fault: len(found) for fault, found in self.faults.items()}
        if Fault.IN_BROKER in counts:
            counts[Fault.IN_BROKER] = self.total.in_broker
        return "LEDGER DOES NOT BALANCE: " + "; ".join(f"{count:,} {fault}" for fault, count in counts.items())
