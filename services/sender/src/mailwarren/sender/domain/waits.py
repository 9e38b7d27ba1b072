"""A mail whose site is slow: does it wait in the process or on the ladder, and how long (DESIGN §6)?

A provider's shard has one site, so its mails may fill the prefetch: that is what stops the consumption. On a hashed
shard they stand in the way of other sites' mails, and do not stay.
"""

from dataclasses import dataclass
from random import Random

from mailwarren.contracts.ladder import FIRST_RUNG, LONGEST_WAIT
from mailwarren.contracts.lanes import Lane

PROVIDER_HOLD = 900.0
HASHED_HOLD = 30.0
LONGEST_SHAPED = 300.0
LONGEST_SHAPED_HIGH = 30.0
JITTER = 0.2
SHARED_AGAIN = 5.0
"""Seconds after which a mail may come to another sender, who may send it from an egress that this one has not."""
SHARED_AGAIN_MOST = 60.0
NEW_DAY = 600.0
"""Seconds over which those spread that wait for a new day."""


@dataclass(frozen=True, slots=True)
class Stay:
    """Wait here for at most so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Climb:
    """Wait on the ladder for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Slow:
    """How slow a site is: seconds until a suspension ends (None without one), seconds that its line takes."""

    suspended: float | None
    line: float


def plan_wait(
    slow: Slow,
    *,
    provider: bool,
    lane: Lane,
    shaped: int,
    waited: float,
    room: bool,
    left: float,
    scale: float,
    rng: Random,
) -> Stay | Climb:
    """Where a mail waits for its site.

    Args:
        slow: The site.
        provider: Its shard is a provider's.
        lane: The mail's.
        shaped: How often the parcel has waited on the ladder for limits.
        waited: Seconds that it has waited here.
        room: It may wait here: there is a place.
        left: Seconds until its time runs out.
        scale: Of the ladder.
        rng: Spreads those that would come back together.
    """
    hold = (PROVIDER_HOLD if provider else HASHED_HOLD) - waited
    needed = slow.line if slow.suspended is None else slow.suspended
    if left < FIRST_RUNG * scale or (room and hold > 0 and (provider or needed <= hold)):
        return Stay(max(0.0, min(hold, left)) if left >= FIRST_RUNG * scale else max(0.0, left))
    if slow.suspended is not None:
        # A little late rather than early: who comes early goes round once more. But a person may end it sooner, and
        # then nobody should wait for much longer than he has: the first look is after five minutes.
        wait = slow.suspended + rng.random() * min(10.0, JITTER * slow.suspended) + FIRST_RUNG * scale / 2
        wait = min(wait, LONGEST_SHAPED * scale * 2.0 ** min(shaped, 10))
    else:
        longest = LONGEST_SHAPED_HIGH if lane is Lane.HIGH else LONGEST_SHAPED
        base = min(max(slow.line, FIRST_RUNG), LONGEST_SHAPED) * 2.0 ** min(shaped, 10)
        wait = min(base * (1 + JITTER * (2 * rng.random() - 1)), longest) * scale
    return Climb(min(wait, LONGEST_WAIT * scale, left))


def plan_egress_wait(
    opens_in: float | None,
    *,
    elsewhere: bool,
    lane: Lane,
    shaped: int,
    left: float,
    scale: float,
    rng: Random,
) -> float:
    """Seconds on the ladder of a mail for which no egress is open.

    Args:
        opens_in: Seconds until one is; None when nobody knows.
        elsewhere: Another sender of its queue has one that is open now.
        lane: The mail's.
        shaped: How often the parcel has waited on the ladder for limits.
        left: Seconds until its time runs out.
        scale: Of the ladder.
        rng: Spreads those that would come back together.
    """
    if elsewhere:
        wait = min(SHARED_AGAIN * 2.0 ** min(shaped, 10), SHARED_AGAIN_MOST)
    else:
        longest = LONGEST_SHAPED_HIGH if lane is Lane.HIGH else LONGEST_SHAPED
        wait = longest * 2.0 ** min(shaped, 10)
    wait *= (1 + JITTER * (2 * rng.random() - 1)) * scale
    if opens_in is not None and not elsewhere:
        wait = min(wait, opens_in + rng.random() * NEW_DAY * scale + FIRST_RUNG * scale / 2)
    return max(0.0, min(wait, LONGEST_WAIT * scale, left))
