"""When work that comes again is due next (pure)."""

import math
from datetime import datetime, timedelta


def next_run(due: datetime, every: float, now: datetime) -> datetime:
    """The first time after ``now`` on the grid of ``due``: what was missed meanwhile is not made up for."""
    missed = max(0, math.floor((now - due).total_seconds() / every))
    return due + timedelta(seconds=every * (missed + 1))
