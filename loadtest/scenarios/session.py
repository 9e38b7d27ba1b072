"""What all users of this process share: the plan, the recipients, what was accepted, and whether the run is ending."""

import itertools
import os
import time
from collections import deque
from random import Random
from uuid import UUID, uuid4

from mailwarren.load.domains import Domains
from mailwarren.load.ledger import Row, accepted_row, unanswered_row
from mailwarren.load.plan import Plan

RECENT = 5_000


class Session:
    """One for each process; :data:`session` is it."""

    def __init__(self) -> None:
        self.plan = Plan.of(os.environ)
        self.ending = False
        """The run is over: users finish the call that they are in, and make no other."""
        self.ended_at = float("inf")
        self.rng = Random(self.plan.seed)
        self.domains = Domains(self.plan.seed, real_names=self.plan.real_names)
        self.numbers = itertools.count(1)
        self._process = uuid4().hex[:8]
        self._rows: list[Row] = []
        self._recent: deque[tuple[float, UUID]] = deque(maxlen=RECENT)

    def begin(self, index: int) -> None:
        """A run begins. The workers of a distributed one have different recipients, the same ones in every run."""
        self.ending, self.ended_at = False, float("inf")
        self.rng = Random(self.plan.seed + index)
        self.domains = Domains(self.plan.seed + index, real_names=self.plan.real_names)

    def key(self) -> str:
        """An Idempotency-Key that no other call has."""
        return f"load-{self.plan.run}-{self._process}-{next(self.numbers)}"

    def accepted(self, ident: UUID, address: str, lane: str) -> None:
        """The API said yes to a recipient."""
        self._rows.append(accepted_row(ident, address, lane))
        self._recent.append((time.monotonic(), ident))

    def unanswered(self, address: str, lane: str, reason: str) -> None:
        """The API said nothing about a recipient."""
        self._rows.append(unanswered_row(address, lane, reason))

    def take_rows(self) -> list[Row]:
        """What came since the last time, for the ledger."""
        rows, self._rows = self._rows, []
        return rows

    def some_email(self, *, at_least: float = 0.0, at_most: float = float("inf")) -> UUID | None:
        """An email that this process posted, so many seconds ago; None when there is none."""
        now = time.monotonic()
        fitting = [ident for then, ident in self._recent if at_least <= now - then <= at_most]
        return self.rng.choice(fitting) if fitting else None

    def end(self) -> None:
        """The run is over."""
        if not self.ending:
            self.ending, self.ended_at = True, time.monotonic()


session = Session()
