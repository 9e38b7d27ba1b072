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

    Every copy but the last needs a death: it came over a connection of the sender that died, before that, and was
    answered so shortly before (or never) that the outcome can have been unconfirmed.
    """
    costs = [Cost(death) for death in deaths]
    unexplained = []
    for copies in repeated:
        for copy in copies[:-1]:
            cost = next((one for one in costs if _explains(one.death, copy)), None)
            if cost is None:
                unexplained.append(copies)
                break
            seen = copy.answered_at is not None and copy.answered_at <= cost.death.at
            (cost.unconfirmed if seen else cost.unanswered).append(copy)
    return costs, unexplained


def _explains(death: Death, copy: SinkRecord) -> bool:
    return (
        copy.port in death.ports
        and copy.received_at <= death.at + OLDEST
        and (copy.answered_at is None or copy.answered_at >= death.at - OLDEST)
    )
