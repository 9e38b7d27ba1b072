"""When to try again, and when to give up (DESIGN §4, stop 10).

A budget is a span of time, not a number of attempts: from acceptance to ``expires_at`` or the lane's budget,
whichever ends first. Waits that are not the recipient's fault (shaping, an unanswered question) cost no attempt.
"""

from dataclasses import dataclass
from random import Random

from mailwarren.contracts.lanes import Lane

MINUTE = 60.0
HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Waits in seconds after the first, second, … attempt; the last one repeats. ``jitter`` is a share (0.2: ±20 %)."""

    waits: tuple[float, ...]
    budget: float
    jitter: float = 0.2


_PATIENT = RetryPolicy(
    # The first three clear greylisting.
    waits=(5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR),
    budget=48 * HOUR,
)
POLICIES: dict[Lane, RetryPolicy] = {
    Lane.HIGH: RetryPolicy(
        waits=(30.0, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 20 * MINUTE, 30 * MINUTE), budget=4 * HOUR
    ),
    Lane.NORMAL: _PATIENT,
    Lane.BULK: _PATIENT,
}


def deadline(policy: RetryPolicy, accepted_at: float, expires_at: float | None, scale: float) -> float:
    """The Unix time after which no attempt is made."""
    budget = accepted_at + policy.budget * scale
    return budget if expires_at is None else min(budget, expires_at)


def plan_retry(
    policy: RetryPolicy, *, attempt: int, now: float, until: float, scale: float, rng: Random, hint: float | None = None
) -> float | None:
    """Seconds to wait after ``attempt`` (from 1), or None to give up because the wait would pass ``until``.

    ``hint`` is the server's own wish; it replaces the schedule's wait when it is longer.
    """
    base = policy.waits[min(attempt, len(policy.waits)) - 1]
    wait = base * (1 + policy.jitter * (2 * rng.random() - 1))
    if hint is not None:
        wait = max(wait, hint)
    wait *= scale
    return wait if now + wait < until else None
