"""What the tracker needs from the outside, and what each port owes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from mailwarren.contracts.events import Event
from mailwarren.contracts.parcel import Delivery, Parcel
from mailwarren.contracts.settle import Answer, Question
from mailwarren.tracker.domain.counting import Steps
from mailwarren.tracker.domain.hits import Seen
from mailwarren.tracker.domain.read import Message, Work
from mailwarren.tracker.domain.stats import Cell
from mailwarren.tracker.domain.suppression import Suppressed


class Unavailable(Exception):
    """The database is away, restarts, times out or has chosen us as the victim of a deadlock: try again."""


class Refused(Exception):
    """The database, or our own code, cannot take some row of this batch; it never will."""


@dataclass
class Recorded:
    """What a batch changed, each thing told exactly once for each row it made.

    ``accepted`` has a parcel once for each of its deliveries that was new, ``taken`` that delivery beside it,
    ``events`` the events that were new,
    ``delivered`` those that made a delivery delivered, ``repeated`` the number of events known before. ``counts`` says
    the first two in numbers, ``steps`` what is added to the counters of the metrics. ``suppressed`` are the new entries
    of suppression lists.
    """

    accepted: list[Parcel] = field(default_factory=list)
    taken: list[tuple[Parcel, Delivery]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    delivered: list[Event] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    repeated: int = 0
    counts: Counter[Cell] = field(default_factory=Counter)
    suppressed: list[Suppressed] = field(default_factory=list)
    steps: Steps = field(default_factory=dict)
    answers: list[tuple[Question, Answer]] = field(default_factory=list)


class Ledger(Protocol):
    """Writes batches."""

    async def record(self, works: Sequence[Work]) -> Recorded:
        """Write all of it in one transaction, or nothing. A repeated batch changes nothing.

        Raises:
            Unavailable: nothing is known to be written.
            Refused: nothing is written.
        """


class Outbox(Protocol):
    """Publishes."""

    async def answer(self, question: Question, answer: Answer) -> None:
        """Send an answer; it may be lost, and then the question is put again. Never raises."""

    async def set_aside(self, message: Message, reason: str) -> None:
        """Return when the message is safe in ``mail.dead``.

        Raises:
            PublishError: it may be there or not.
        """


class Inbox(Protocol):
    """Delivers messages of all queues in one order, and acks them in it."""

    def pop(self) -> Message | None:
        """The next message, None when there is none at the moment."""

    async def wait(self, seconds: float) -> None:
        """Return when there is a message, or after ``seconds``."""

    def current(self, message: Message) -> bool:
        """Whether the message can still be acked; if not, the broker delivers it again."""

    async def ack(self, message: Message) -> bool:
        """Ack this message and all before it; false when they are stale, which is no harm."""

    def leave(self, message: Message, why: str) -> None:
        """Give the message's queue up for a while, in its order: another consumer can read it, and this one cannot."""
