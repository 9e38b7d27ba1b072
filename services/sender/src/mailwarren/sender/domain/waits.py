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
