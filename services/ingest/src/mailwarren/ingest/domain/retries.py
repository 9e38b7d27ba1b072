"""When an order is tried again (pure)."""

TRIES = 6
"""After so many, an order is set aside for a person."""
AWAY = 1
"""The wait, as an index, while the database is away: no fault of the order, so it costs no try."""


def plan_retry(attempt: int, waits: int, *, away: bool) -> tuple[int, int] | None:
    """What follows a try that failed: which of ``waits`` waits, and the number of the next try; None: no other.

    Args:
        attempt: the try that failed, from 1.
        waits: how many waits there are, the shortest first.
        away: the database was away.
    """
    if away:
        return min(AWAY, waits - 1), attempt
    if attempt >= TRIES:
        return None
    return min(attempt, waits) - 1, attempt + 1
