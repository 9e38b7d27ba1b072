"""Counters of what became of deliveries, in the words of the public API (``email_metrics``).

A delivery counts once for each thing that became of it, in the quarter of an hour in which that happened.
"""

from typing import Final
from uuid import UUID

QUARTER: Final = 900
"""Seconds. All time zones in use are off UTC by quarters of an hour, so that days can be added up in each of them."""
_MICROSECONDS = QUARTER * 1_000_000
NO_BROADCAST = UUID(int=0)
"""Stands for none: a part of a key is never null."""

COUNTERS: Final = (
    "received",
    "sent",
    "delivered",
    "delivery_delayed",
    "bounced_permanent",
    "bounced_transient",
    "bounced_undetermined",
    "failed",
    "suppressed",
    "complained",
    "opened",
    "unique_opened",
    "clicked",
    "unique_clicked",
)
"""Columns. ``received`` is what the API accepted, ``sent`` that without what was suppressed or canceled, both in the
quarter of the acceptance; ``delivery_delayed`` in that of the first deferral, ends in that of the end.

``unique_opened`` and ``unique_clicked`` count a delivery once, in the quarter of its first open and click, the others
each event after delivery. Opens and clicks that are flagged as no reader's are not counted.
"""

AFTER_DELIVERY: Final = ("complained", "opened", "clicked")
"""Those that count events of the same name."""


def quarter_of(at: float) -> int:
    """The beginning of the quarter of an hour of a moment, both in Unix seconds.

    Rounded as Postgres keeps times, so that a moment that was read back is in the same quarter.
    """
    return int(at * 1e6 + 0.5) // _MICROSECONDS * QUARTER
