"""Types of bounces, in the words of the public API, by the classes that senders read in replies."""

from enum import StrEnum


class BounceType(StrEnum):
    """Whether the same mail to the same address may go better another time."""

    TRANSIENT = "transient"
    PERMANENT = "permanent"
    UNDETERMINED = "undetermined"


TRANSIENT = ("quota", "greylisted", "rate_limited")
"""Classes of bounces that another day may end otherwise."""
NO_CLASS = ("",)
"""What a row without a class is taken for."""


def bounce_type(bounce_class: str | None) -> BounceType:
    """The type of a bounce of this class; None or empty: the sender named none."""
    if not bounce_class:
        return BounceType.UNDETERMINED
    return BounceType.TRANSIENT if bounce_class in TRANSIENT else BounceType.PERMANENT
