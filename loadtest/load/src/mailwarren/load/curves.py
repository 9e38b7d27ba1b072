"""How many users there are at each moment of a shaped run. Pure: from a share of the time to a share of the users."""

from itertools import pairwise

DAY: tuple[tuple[float, float], ...] = (
    (0, 0.10), (5, 0.06), (7, 0.25), (9, 0.90), (10, 1.00), (12, 0.75), (13, 0.60), (14, 0.80), (16, 0.85),
    (18, 0.65), (20, 0.50), (22, 0.30), (24, 0.10),
)  # fmt: skip
"""Hours and the share of the users: a trough before dawn, a peak at ten, a dip at lunch, an evening that ebbs away."""
CAMPAIGNS: tuple[tuple[float, float], ...] = ((10.0, 12.0), (16.0, 17.5))
"""Hours in which bulk mail is posted: on top of the morning peak, and in the afternoon."""

SPIKE = 10
"""How many times the usual users there are in a spike."""
SPIKE_BEGINS = 0.4
SPIKE_LASTS = 0.15
"""Shares of the time."""


def day_level(hour: float) -> float:
    """The share of the users at an hour of the day, straight lines between the points of :data:`DAY`."""
    for (early, low), (late, high) in pairwise(DAY):
        if early <= hour <= late:
            return low + (high - low) * (hour - early) / (late - early)
    raise ValueError(f"{hour} is no hour of a day")


def is_campaign(hour: float) -> bool:
    """Whether bulk mail is posted at this hour."""
    return any(begin <= hour < end for begin, end in CAMPAIGNS)


def day_users(most: int, passed: float, lasts: float) -> int | None:
    """Users after ``passed`` seconds of a day that lasts ``lasts``; None when it is over."""
    if passed >= lasts:
        return None
    return max(1, round(most * day_level(24 * passed / lasts)))


def spike_users(usual: int, passed: float, lasts: float) -> int | None:
    """Users after ``passed`` of ``lasts`` seconds with one spike; None when they are over."""
    if passed >= lasts:
        return None
    inside = SPIKE_BEGINS <= passed / lasts < SPIKE_BEGINS + SPIKE_LASTS
    return usual * (SPIKE if inside else 1)
