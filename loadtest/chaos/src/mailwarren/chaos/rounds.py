"""Crash rounds: senders are killed under load, and then every mail is looked for."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from mailwarren.chaos.crew import Crew, Death, Settling
from mailwarren.chaos.judge import BOUND, Cost, copies_of, explain
from mailwarren.chaos.plan import Round, draw_rounds
from mailwarren.chaos.posting import Posting
from mailwarren.devstack.harness.counts import DELIVERED, Disagreement
from mailwarren.devstack.harness.sink import SinkRecord
from mailwarren.devstack.harness.system import System

PERSONA = {"domains": ["*"], "dot_latency_ms": {"low": 20, "high": 50}}
AHEAD = 4000
"""Mails that are promised and have not arrived, at most: enough for four senders, and the load lasts for all rounds."""
FIRST_SENDERS = 2
_LOOK_EVERY = 0.05
_CLAIMED_SECONDS = 20.0
"""That no mail comes, with senders there: what is left then waits for a claim."""
_CLAIMED = """
SELECT count(c.attempt) AS claimed, count(*) FILTER (WHERE c.contested) AS contested
FROM deliveries d LEFT JOIN claims c ON c.delivery_id = d.id
WHERE d.email_id = ANY($1::uuid[]) AND d.state NOT IN ('delivered')
"""
_SECONDS_A_ROUND = 60.0
"""That mail may stand still before it counts as stuck."""


@dataclass(frozen=True)
class Blow:
    """A round as it was: what died, and who came and went after it."""

    round: Round
    at: float
    deaths: tuple[Death, ...]
    started: int
    left: int


@dataclass
class Account:
    """What the four counts say of a run.

    ``promised`` is the API's, ``rows`` Postgres', ``arrived`` the sink's, ``waiting`` the broker's once all senders
    have ended.
    """

    blows: list[Blow]
    promised: int
    rows: Counter[str]
    arrived: int
    waiting: dict[str, int]
    difference: Disagreement
    costs: list[Cost]
    twice: int
    """Mails that the sink's ledger accepted more than once."""
    settling: Settling
    held_up: int
    """Mails that had to wait until a dead sender's claim had run out."""
    unexplained: list[tuple[SinkRecord, ...]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def lost(self) -> int:
        """Promised, and without a row, an end, or a copy at the sink."""
        found = self.difference
        kinds = (found.missing_rows, found.without_end, found.delivered_but_not_at_sink)
        return len({promise for kind in kinds for promise in kind})

    @property
    def worst(self) -> int:
        """The most that one death cost."""
        return max((cost.count for cost in self.costs), default=0)

    @property
    def holds(self) -> bool:
        """Nothing lost or made up, each second copy explained, and no death cost more than the bound."""
        alike = self.promised == self.rows[DELIVERED] == self.arrived
        return alike and self.difference.balanced and not (self.waiting or self.unexplained) and self.worst <= BOUND


def run(system: System, *, rounds: int, mails: int, seed: int, tell: Callable[[str], None]) -> Account:
    """Post, kill, wait, account. The system has all but senders.

    Raises:
        TimeoutError: mail stood still for a minute.
        ServiceDied: something ended that nobody killed.
    """
    witness = system.sink
    if witness is None:
        raise RuntimeError("start_sink() comes first")
    witness.play(PERSONA)
    began = time.monotonic()
    crew = Crew(system, {}, Random(f"crew {seed}"))
    crew.set_count(FIRST_SENDERS)
    blows: list[Blow] = []

    def arrived() -> int:
        return int(witness.stats()["unique"])

    with Posting(system, mails, arrived=arrived, ahead=min(AHEAD, max(500, mails // 4))) as posting:
        for one in draw_rounds(rounds, seed):
            _wait_for(one.after * mails, arrived, crew, posting)
            time.sleep(one.pause)
            deaths = tuple(crew.kill(one.victims, one.number))
            blow = Blow(one, time.time(), deaths, *crew.set_count(one.senders))
            blows.append(blow)
            tell(_line(blow, rounds, arrived(), mails, time.monotonic() - began))
    held_up = _wait_for_last(system, mails, arrived, crew, posting, tell=tell)
    tell("all mails have arrived; the ledgers are compared")
    difference = system.settle(posting.promises, timeout=_SECONDS_A_ROUND)
    crew.ask_living()
    waiting = system.left_in_broker()
    costs, unexplained = explain(copies_of(witness.records()), [death for blow in blows for death in blow.deaths])
    return Account(
        blows=blows,
        promised=len(posting.promises),
        rows=Counter(system.states(posting.promises).values()),
        arrived=arrived(),
        waiting=waiting,
        difference=difference,
        costs=costs,
        twice=len(witness.accepted_twice()),
        settling=crew.settling,
        held_up=held_up,
        unexplained=[tuple(copies) for copies in unexplained],
        seconds=time.monotonic() - began,
    )


def _wait_for_last(
    system: System,
    mails: int,
    arrived: Callable[[], int],
    crew: Crew,
    posting: Posting,
    *,
    tell: Callable[[str], None],
) -> int:
    """Wait for all; returns how many only came when the claims of the dead had run out.

    A claim that a second copy of its mail met stands for ten minutes (``docs/adr/0013``). Nothing is being sent any
    more when nothing arrives, so the clock can be put forward instead.
    """
    try:
        _wait_for(mails, arrived, crew, posting, still=_CLAIMED_SECONDS)
    except TimeoutError:
        held_up = mails - arrived()
        ids = [promise.email_id for promise in posting.promises]
        (row,) = system.query(_CLAIMED, ids)
        tell(f"{held_up} mails stand still, {row['claimed']} for a claim, {row['contested']} of them contested")
        system.query("update claims set at = at - interval '10 minutes'")
        _wait_for(mails, arrived, crew, posting)
        return held_up
    return 0


def _wait_for(
    goal: float, arrived: Callable[[], int], crew: Crew, posting: Posting, still: float = _SECONDS_A_ROUND
) -> None:
    moved, before = time.monotonic(), -1
    while (now := arrived()) < goal:
        posting.check()
        alive = crew.alive
        if now != before:
            moved, before = time.monotonic(), now
        elif time.monotonic() - moved > still:
            raise TimeoutError(f"{now} of {goal:.0f} mails arrived, and none for {still:.0f} s; senders: {alive}")
        time.sleep(_LOOK_EVERY)


def _line(blow: Blow, rounds: int, arrived: int, mails: int, seconds: float) -> str:
    came = f", {blow.started} started" * bool(blow.started) + f", {blow.left} told to leave" * bool(blow.left)
    names = ", ".join(death.sender for death in blow.deaths)
    return f"{seconds:4.0f} s  round {blow.round.number}/{rounds}: {arrived:,} of {mails:,} mails; killed {names}{came}"
