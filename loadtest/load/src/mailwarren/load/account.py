"""The account where only the API can be asked, and the sink perhaps: is every accepted mail known, and has it an end?

Two counts that no one derives from another, or three with the sink's. Where database and broker can be asked too,
``make load`` lays all four side by side instead (:mod:`mailwarren.devstack.load`).
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from mailwarren.load.ledger import Silence, Yes

OPEN = frozenset({"queued", "delivery_delayed", "scheduled"})
"""Events of a mail without an end."""
DELIVERED = "delivered"
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Known:
    """An email as the API lists it; ``copies``: how often the sink has it, None when nobody asked."""

    last_event: str
    copies: int | None = None


@dataclass(slots=True)
class Account:
    """What was found."""

    accepted: int
    events: Counter[str]
    faults: dict[str, list[str]] = field(default_factory=dict)
    duplicates: int = 0

    @property
    def balances(self) -> bool:
        """Nothing is lost, nothing invented, nothing left."""
        return not self.faults

    def lines(self) -> list[str]:
        """For a person; the verdict comes last."""
        events = ", ".join(f"{count:,} {event}" for event, count in self.events.most_common())
        lines = [f"Accepted by the API: {self.accepted:,}. By its list: {events or 'nothing'}."]
        if self.duplicates:
            lines.append(f"At the sink twice or more: {self.duplicates:,}.")
        for fault, subjects in self.faults.items():
            lines.append(f"NOT RIGHT: {len(subjects):,} {fault}, such as {', '.join(subjects[:SHOWN])}")
        counts = "; ".join(f"{len(subjects):,} {fault}" for fault, subjects in self.faults.items())
        return [*lines, f"LEDGER DOES NOT BALANCE: {counts}" if counts else "LEDGER BALANCES"]


def settle(yes: Sequence[Yes], silences: Iterable[Silence], known: Mapping[UUID, Known]) -> Account:
    """Hold the API's answers against its list and the sink. Pure."""
    account = Account(len(yes), Counter(one.last_event for one in known.values()))

    def fault(kind: str, subject: object) -> None:
        account.faults.setdefault(kind, []).append(str(subject))

    for silence in silences:
        fault("posted, without an answer from the API", f"{silence.address} ({silence.reason})")
    ids = Counter(one.id for one in yes)
    for ident, times in ids.items():
        if times > 1:
            fault("accepted with an id that another has too", ident)
        found = known.get(ident)
        if reason := "accepted, and not in the API's list" if found is None else _disagreement(found):
            fault(reason, ident)
        account.duplicates += found is not None and (found.copies or 0) > 1
    for ident in known.keys() - ids.keys():
        fault("in the API's list, and not in its answers", ident)
    return account


def _disagreement(found: Known) -> str | None:
    if found.last_event in OPEN:
        return "without an end"
    if found.copies is None:
        return None
    if found.last_event == DELIVERED:
        return None if found.copies else "delivered, and not at the sink"
    return "at the sink, and not delivered" if found.copies else None


def wait_settled(
    look: Callable[[], Account],
    patience: float,
    say: Callable[[str], None],
    *,
    now: Callable[[], float] = time.monotonic,
) -> Account:
    """Look until the account balances, or ``patience`` seconds have passed without an end more."""
    moved, ended = now(), -1
    while True:
        account = look()
        done = sum(count for event, count in account.events.items() if event not in OPEN)
        if account.balances or now() - moved > patience:
            return account
        if done != ended:
            moved, ended = now(), done
        say(f"waiting for ends: {done:,} of {account.accepted:,}; {patience - (now() - moved):.0f} s of patience left")
        time.sleep(min(5.0, 0.5 + account.accepted / 20_000))
