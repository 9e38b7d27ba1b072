"""What a receiver's answer means for one event and for its endpoint (pure).

The schedule is that of ``docs/webhooks.md``: 10 s, 1 min, 5 min, 15 min, 1 h, 4 h and 24 h after the tries before.
"""

from http import HTTPStatus
from typing import NamedTuple

from mailwarren.store.states import WebhookState

STEPS = (10.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
"""Seconds from a failed try to the next."""
LIFETIME = 72 * 3600.0
"""Seconds after which nothing is tried any more: the tries of many events wait for each other at a dead endpoint."""
RETRY_AFTER_MOST = 3600.0
"""Seconds that a receiver may ask for (Retry-After, RFC 9110 §10.2.3)."""
STOPS = frozenset({HTTPStatus.NOT_ACCEPTABLE, HTTPStatus.GONE})
"""Answers after which the event is not tried again."""


class Answer(NamedTuple):
    """How a try ended: an HTTP status with the beginning of the body, or ``trouble`` in our words."""

    status: int
    """0 for no answer."""
    text: str
    """The body's beginning, or why there is no answer."""
    trouble: str = ""
    """``timeout``, ``unreachable``, ``private`` or ``protocol``; empty when there was an answer."""
    duration: float = 0.0
    retry_after: float | None = None

    @property
    def success(self) -> bool:
        """The receiver has it. A redirect is none: it is not followed."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def result(self) -> str:
        """A word for counting."""
        if self.trouble:
            return self.trouble
        return f"{self.status // 100}xx"


class Plan(NamedTuple):
    """What becomes of an event after a try."""

    state: WebhookState
    wait: float | None = None
    """Seconds to the next try; None at the end."""
    gone: bool = False
    """The receiver says that there is no such endpoint any more, and will not be (410)."""


def plan_next(answer: Answer, attempts: int, scale: float = 1.0) -> Plan:
    """What to do next.

    Args:
        answer: of the try.
        attempts: tries so far, this one included.
        scale: shortens the schedule, for demos and tests.
    """
    if answer.success:
        return Plan(WebhookState.SUCCESS)
    if answer.status in STOPS or attempts > len(STEPS):
        return Plan(WebhookState.FAILED, gone=answer.status == HTTPStatus.GONE)
    wait = STEPS[attempts - 1] * scale
    if answer.retry_after is not None:
        wait = max(wait, min(answer.retry_after, RETRY_AFTER_MOST))
    return Plan(WebhookState.ATTEMPTING, wait)
