"""The ledger of one cell: what the API promised, what the tables say, what the receiver saw. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mailwarren.devstack.harness.counts import DELIVERED, Promise, SinkPair, compare

GIVEN_UP = "bounced"
_DELIVERED_CODE, _REFUSED_CODE, _DEFERRED_CODE = "250", "550", "450"


@dataclass(frozen=True)
class Entry:
    """One row of the ledger; times are Unix seconds."""

    email_id: str
    address: str
    state: str
    attempt: int
    accepted_at: float
    ended_at: float | None


def differences(
    promises: Sequence[Promise],
    entries: Sequence[Entry],
    pairs: Mapping[tuple[str, str], SinkPair],
    stats: Mapping[str, Any],
    *,
    asked: int,
    recorded: int,
    left: Mapping[str, int],
) -> list[str]:
    """Every disagreement, as a sentence; none is a ledger that agrees.

    Args:
        promises: ids that the API answered.
        entries: rows of these ids.
        pairs: what the receiver has by (Message-ID, recipient).
        stats: the receiver's counters.
        asked: mails that were posted.
        recorded: rows of the time of the cell, whoever asked for them.
        left: messages that wait in queues, by name.
    """
    found = []
    if len(promises) != asked:
        found.append(f"{asked} mails were posted and {len(promises)} accepted")
    if recorded != len(promises):
        found.append(f"{len(promises)} mails were accepted and {recorded} recorded")
    states = {(one.email_id, one.address): one.state for one in entries}
    compared = compare(list(promises), states, dict(pairs))
    if not compared.balanced:
        found.append(str(compared))
    if compared.doubled:
        found.append(f"{len(compared.doubled)} mails came to the receiver more than once")
    counts = Counter(one.state for one in entries)
    if others := set(counts) - {DELIVERED, GIVEN_UP}:
        found.append(f"states that no cell asks for: {', '.join(f'{counts[one]} {one}' for one in sorted(others))}")
    again = sum(one.attempt - 1 for one in entries)
    codes = {str(code): count for code, count in stats["by_code"].items()}
    for name, rows, code in (
        ("delivered", counts[DELIVERED], _DELIVERED_CODE),
        ("refused for good", counts[GIVEN_UP], _REFUSED_CODE),
        ("tried again", again, _DEFERRED_CODE),
    ):
        if rows != codes.get(code, 0):
            found.append(f"{rows} {name} in the tables, {codes.get(code, 0)} answers {code} at the receiver")
    found += [f"{count} messages are left in {name}" for name, count in sorted(left.items()) if count]
    return found
