"""The four counts of the ledger, none derived from another (DESIGN §2.3), and where they disagree."""

from collections import Counter
from dataclasses import dataclass, field

DELIVERED = "delivered"
ENDS = frozenset({"delivered", "bounced", "failed", "expired", "canceled", "suppressed", "held"})


@dataclass(frozen=True)
class Promise:
    """One delivery that the API said yes to."""

    email_id: str
    address: str
    message_id: str


@dataclass(frozen=True)
class SinkPair:
    """What the sink counted for one (Message-ID, recipient)."""

    answered: int
    unanswered: int


@dataclass
class Disagreement:
    """What does not add up; all empty is a balanced ledger. ``doubled`` is reported and judged by the caller."""

    missing_rows: list[Promise] = field(default_factory=list)
    without_end: list[Promise] = field(default_factory=list)
    delivered_but_not_at_sink: list[Promise] = field(default_factory=list)
    at_sink_but_not_delivered: list[Promise] = field(default_factory=list)
    strangers_at_sink: list[tuple[str, str]] = field(default_factory=list)
    doubled: list[tuple[Promise, SinkPair]] = field(default_factory=list)

    @property
    def balanced(self) -> bool:
        """Nothing is lost and nothing is invented."""
        return not (
            self.missing_rows
            or self.without_end
            or self.delivered_but_not_at_sink
            or self.at_sink_but_not_delivered
            or self.strangers_at_sink
        )

    def __str__(self) -> str:
        parts = {name: value for name, value in vars(self).items() if value}
        return "; ".join(f"{name}: {len(value)} such as {value[:3]}" for name, value in parts.items()) or "balanced"


def compare(
    promises: list[Promise], states: dict[tuple[str, str], str], sink: dict[tuple[str, str], SinkPair]
) -> Disagreement:
    """Hold the API's promises against the rows by (email id, address) and the sink by (Message-ID, recipient)."""
    found = Disagreement()
    known = set()
    for promise in promises:
        known.add((promise.message_id, promise.address))
        state = states.get((promise.email_id, promise.address))
        pair = sink.get((promise.message_id, promise.address), SinkPair(0, 0))
        if state is None:
            found.missing_rows.append(promise)
        elif state not in ENDS:
            found.without_end.append(promise)
        elif state == DELIVERED and pair.answered == 0:
            found.delivered_but_not_at_sink.append(promise)
        elif state != DELIVERED and pair.answered > 0:
            found.at_sink_but_not_delivered.append(promise)
        if pair.answered + pair.unanswered > 1:
            found.doubled.append((promise, pair))
    found.strangers_at_sink = [pair for pair in sink if pair not in known]
    return found


def by_state(states: dict[tuple[str, str], str]) -> Counter[str]:
    """How many deliveries are in each state."""
    return Counter(states.values())
