"""How long a mail's way was, as its timeline says it. Pure."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

ACCEPTED = "accepted"
ENDS = frozenset({"delivered", "bounced", "failed", "expired", "suppressed", "canceled"})


class Journey(NamedTuple):
    """From the API's yes to the end: which end, and after how many seconds."""

    end: str
    seconds: float


def journey(entries: Iterable[tuple[str, str]]) -> Journey | None:
    """The way of a mail with one recipient; None while it has no end, or while its acceptance is not recorded.

    Args:
        entries: kind and moment (ISO 8601) of each thing that happened, in any order.
    """
    begun: datetime | None = None
    end: tuple[str, datetime] | None = None
    for kind, at in entries:
        if kind == ACCEPTED:
            begun = datetime.fromisoformat(at)
        elif kind in ENDS:
            end = (kind, datetime.fromisoformat(at))
    if begun is None or end is None:
        return None
    return Journey(end[0], max(0.0, (end[1] - begun).total_seconds()))
