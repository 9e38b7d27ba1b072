"""Why a mail came twice: the sink's record of final dots against the deaths of senders (DESIGN §2.4)."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mailwarren.chaos.crew import Death
from mailwarren.devstack.harness.sink import SinkRecord

BOUND = 500
"""Mails that one death may send twice."""
OLDEST = 2.5
"""Seconds between a reply and the death of its sender: a sender stops new mail data when the oldest outcome has waited
for two seconds, and half a second is for the broker's confirm of the last."""


@dataclass
class Cost:
    """The copies that a death cost."""

    death: Death
    unconfirmed: list[SinkRecord] = field(default_factory=list)
    """Answered with 250, and the sender died before the broker had confirmed the outcome."""
    unanswered: list[SinkRecord] = field(default_factory=list)
    """Their final dot had come, and the reply had not."""

    @property
    def count(self) -> int:
        """All of them."""
        return len(self.unconfirmed) + len(self.unanswered)

    @property
    def oldest(self) -> float:
        """Seconds from the first answer among them to the death."""
        return max((self.death.at - one.answered_at for one in self.unconfirmed if one.answered_at), default=0.0)


def copies_of(records: Iterable[SinkRecord]) -> list[Sequence[SinkRecord]]:
    """The records of each (Message-ID, recipient) that has several, in the order in which they came."""
    found = defaultdict(list)
    for record in records:
        found[record.message_id, record.rcpt].append(record)
    return [sorted(one, key=lambda copy: copy.received_at) for one in found.values() if len(one) > 1]


def explain(
    repeated: Iterable[Sequence[SinkRecord]], deaths: Iterable[Death]
) -> tuple[list[Cost], list[Sequence[SinkRecord]]]:
    """What each death cost, and the mails with a second copy that no death explains.

    Every copy but the last needs a death: it came before that, was answered so shortly before (or never) that the
    outcome can have been unconfirmed, and came over a connection of the sender that died. A sender closes connections
    too: one that nobody had open any more is taken for the dead sender's, but none that a living one had.
    """
    costs = [Cost(death) for death in deaths]
    unexplained = []
    for copies in repeated:
        for copy in copies[:-1]:
            cost = _cause(costs, copy)
            if cost is None:
                unexplained.append(copies)
                break
            seen = copy.answered_at is not None and copy.answered_at <= cost.death.at
            (cost.unconfirmed if seen else cost.unanswered).append(copy)
    return costs, unexplained


def _cause(costs: Iterable[Cost], copy: SinkRecord) -> Cost | None:
    timely = [one for one in costs if _is_timely(one.death, copy)]
    own = [one for one in timely if copy.port in one.death.ports]
    closed = [one for one in timely if copy.port not in one.death.others and copy.received_at <= one.death.at]
    return min(own or closed, key=lambda one: abs(one.death.at - copy.received_at), default=None)


def _is_timely(death: Death, copy: SinkRecord) -> bool:
    if copy.received_at > death.at + OLDEST:
        return False
    if copy.answered_at is None:
        return copy.port in death.ports or copy.received_at >= death.at - OLDEST
    return copy.answered_at >= death.at - OLDEST
