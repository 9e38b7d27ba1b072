"""The words that stand in columns and cross no queue: the states of a delivery, the origins of a suppression."""

from enum import StrEnum


class State(StrEnum):
    """What became of a delivery so far. ``docs/glossary.md`` has the words for people."""

    ACCEPTED = "accepted"
    """Durable in the broker, not tried."""
    DEFERRED = "deferred"
    """Tried, will be tried again."""
    DELIVERED = "delivered"
    """The next hop answered 250 to the final dot."""
    BOUNCED = "bounced"
    """Refused for good by a named rule."""
    FAILED = "failed"
    """Refused otherwise, could not be built, or withdrawn by us."""
    EXPIRED = "expired"
    """Its time ran out without a yes."""
    CANCELED = "canceled"
    """Withdrawn by a person before it was sent."""
    SUPPRESSED = "suppressed"
    """Not sent: the address is on the suppression list."""
    HELD = "held"
    """Outcome unknown after a crash; a person decides."""
    PARKED = "parked"
    """In ``mail.dead`` for a person. No end: a replay goes on with it."""
    UNCONFIRMED = "unconfirmed"
    """The broker did not confirm the acceptance. No end: a sender may have it all the same."""


ENDS: frozenset[State] = frozenset(
    {
        State.DELIVERED,
        State.BOUNCED,
        State.FAILED,
        State.EXPIRED,
        State.CANCELED,
        State.SUPPRESSED,
        State.HELD,
    }
)
"""States in which no sender works on a delivery any more."""


class Origin(StrEnum):
    """Why an address is on a suppression list (``suppressions.origin``)."""

    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    MANUAL = "manual"
