"""Egress: the addresses and HELO names that mail leaves from, and how many mails a new one may send in a day.

A :class:`Reservation` is an entry of the control log under :data:`WARMUP_KEY`. The log has one order for everybody, so
every sender that reads it knows the same of each day: what is asked for is granted in the order of the log, as long as
the day's number lasts. Nobody else has to decide, and nothing of it is lost when a sender starts anew.
"""

from uuid import UUID

import msgspec

from mailwarren.contracts.lanes import Lane

WARMUP_KEY = "warmup"
"""The routing key of reservations in the control log."""
OTHER_SITES = "other"
"""All sites without a row of their own, which share one number of a day."""
EGRESSES_TOLD = 20
"""Egresses in a heartbeat at most."""
WARMING_TOLD = 50
"""Sites of an egress in a heartbeat at most: those that have been sent the most."""
PROBLEMS_TOLD = 5
"""Problems of an egress in a heartbeat at most."""
ROUTED_TOLD = 500
"""Names in the routes of a heartbeat at most: with more, none of the routes is told."""
DAY = 86400.0


class Reservation(msgspec.Struct, frozen=True, tag="reservation"):
    """A sender asks for ``count`` mails from an egress to a site on a day, or with a count below 0 gives some back.

    ``day`` counts UTC days since 1970. ``most`` is what the day's curve allows, as the asker reads its file: granted is
    as much of ``count`` as ``most`` leaves beyond what was granted before this entry of the log. An ``id`` that comes
    again counts for nothing.
    """

    id: UUID
    sender: UUID
    egress: str
    site: str
    day: int
    count: int
    most: int


class Warming(msgspec.Struct, frozen=True):
    """Today's number of an egress for a site, and how many of it senders have taken."""

    site: str
    most: int
    taken: int


class EgressState(msgspec.Struct, frozen=True, omit_defaults=True):
    """An egress as one sender has it.

    ``addresses`` are those that others see. ``open`` is whether mail may leave from it; ``problems`` are what its
    checks found, in words. ``warming`` are the sites for which it has a number today; all others get any number.
    """

    name: str
    helo: str
    addresses: tuple[str, ...] = ()
    open: bool = True
    problems: tuple[str, ...] = ()
    warming: tuple[Warming, ...] = ()


class PoolRoute(msgspec.Struct, frozen=True, omit_defaults=True):
    """From which egresses, of all senders, the mail leaves that a route of the file fits.

    What says nothing fits all mail; of several routes the first one that fits counts.
    """

    egresses: tuple[str, ...]
    lanes: tuple[Lane, ...] = ()
    sites: tuple[str, ...] = ()
    tenants: tuple[UUID, ...] = ()


def day_of(at: float) -> int:
    """The UTC day of a Unix time."""
    return int(at // DAY)
