"""Too much of a tenant's mail bounces or draws complaints: people are told, then its bulk mail waits (ADR 0038)."""

from typing import NamedTuple

from mailwarren.store.states import BreakerState

CALM = 0.8
"""A warning ends below this part of its mark: a share that swings about the mark is told once."""


class Counts(NamedTuple):
    """A tenant's mail in the window: ``decided`` by the recipients' servers for good, with a yes or a bounce."""

    decided: int = 0
    bounced: int = 0
    complained: int = 0

    @property
    def share(self) -> float:
        """The part that bounced or drew complaints."""
        return (self.bounced + self.complained) / self.decided if self.decided else 0.0

    def __str__(self) -> str:
        """For people."""
        return (
            f"{self.share:.1%} of {self.decided:,} mails bounced or drew complaints "
            f"({self.bounced:,} bounces, {self.complained:,} complaints)"
        )


class Marks(NamedTuple):
    """Shares at which something is done, 0 for never; nothing below ``least`` decided mails in ``window`` seconds."""

    warn: float = 0.05
    pause: float = 0.10
    least: int = 1000
    window: float = 86400.0


def judge(state: BreakerState, counts: Counts, marks: Marks) -> BreakerState:
    """How it stands with a tenant now. A pause ends by a person alone."""
    if state is BreakerState.PAUSED:
        return state
    if counts.decided < marks.least:
        return BreakerState.FINE
    share = counts.share
    if 0 < marks.pause <= share:
        return BreakerState.PAUSED
    warned = state is BreakerState.WARNED
    if 0 < marks.warn * (CALM if warned else 1.0) <= share:
        return BreakerState.WARNED
    return BreakerState.FINE
