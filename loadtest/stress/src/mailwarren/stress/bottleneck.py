"""Which resource ends a cell's growth, named from what was measured. Pure.

The rule, in this order; the first that fits is the bottleneck:

1. a steady cell that takes its posts as they come: the offered load;
2. SMTP connections, when at least ``FULL`` of them wait for an answer at any time (Little's law: mails a second
   times the answer's latency, by connections);
3. the wait for the next try, when in ``FULL`` of the time no open mail had anything else to wait for, or in more of
   the time than any resource was in use;
4. the machine's CPU, when ``FULL`` of all cores are in use, what the host keeps for others counted as used; the part
   that uses most of it is named beside it;
5. one core, when a process that can use only one uses ``FULL`` of it;
6. what is nearest to full, said to be not full.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from mailwarren.stress.grid import CONNECTIONS, IN_FLIGHT, Row
from mailwarren.stress.result import Outcome

FULL = 0.85
_SEVERAL_CORES = frozenset({"broker", "postgres"})
DISTURBED = 0.2
"""Cores that are used by processes that have nothing to do with the cell."""
_KEEPS_UP = 0.93
"""Of the offered rate."""
_ONE_MAIL_EACH = frozenset({Row.SMTPLIB, Row.TEXTBOOK})


class Resource(NamedTuple):
    """Something that can be full.

    ``grows`` says that more senders bring more of it; ``evidence`` is the share in words.
    """

    name: str
    share: float
    evidence: str
    grows: bool = False


class Bottleneck(NamedTuple):
    """What a cell's rate is bound by; not ``full`` when nothing is at its end."""

    name: str
    full: bool
    grows: bool
    evidence: str


def connections(outcome: Outcome) -> int:
    """How many SMTP connections the cell's senders have together."""
    each = 1 if outcome.cell.row in _ONE_MAIL_EACH else CONNECTIONS
    return outcome.cell.senders * each


def part_of(process: str) -> str:
    """``sender 2`` is the sender's."""
    return process.partition(" ")[0]


def resources(outcome: Outcome) -> dict[str, Resource]:
    """All that is known about, by a short key."""
    cell, found = outcome.cell, {}
    waiting = outcome.sustained * (1 - outcome.error_share) * cell.latency_ms / 1000
    count = connections(outcome)
    found["connections"] = Resource(
        "SMTP connections",
        waiting / count,
        f"{waiting:,.0f} of {count} connections wait for an answer",
        grows=True,
    )
    found["retry"] = Resource(
        "the wait for the next try",
        outcome.waiting_only,
        f"for {outcome.waiting_only:.0%} of the time every open mail waited for its next try",
    )
    parts: dict[str, float] = defaultdict(float)
    for process, cores in outcome.busy.items():
        parts[part_of(process)] += cores
    used = outcome.machine + outcome.stolen
    top = max(parts, key=lambda part: parts[part], default="")
    most = f", {top} most with {parts[top]:.2f}" if top else ""
    stolen = f", {outcome.stolen:.2f} of them kept by the host" if outcome.stolen >= DISTURBED else ""
    others = f", {foreign(outcome):.2f} of them by strangers" if foreign(outcome) >= DISTURBED else ""
    found["machine"] = Resource(
        "the machine's CPU",
        used / outcome.cores,
        f"{used:.2f} of {outcome.cores} cores in use{stolen}{others}{most}",
    )
    busiest = _busiest(outcome.busy)
    if busiest:
        share = outcome.busy[busiest]
        part = part_of(busiest)
        name = f"one core of {part if part != 'sender' else 'each sender'}"
        found["process"] = Resource(name, share, f"{busiest} uses {share:.2f} of one core", grows=part == "sender")
    return found


def foreign(outcome: Outcome) -> float:
    """Cores that the machine used and nothing of the cell did; not known of Postfix, whose processes come and go."""
    if not outcome.busy or outcome.cell.row is Row.POSTFIX or not outcome.seconds:
        return 0.0
    client = sum(outcome.cpu.get(part, 0.0) for part in ("client", "watch")) * outcome.cell.mails / 1e6
    return max(0.0, outcome.machine - sum(outcome.busy.values()) - client / outcome.seconds)


def disturbed(outcome: Outcome) -> bool:
    """Strangers or the host took more than the cell can overlook."""
    return foreign(outcome) >= DISTURBED or outcome.stolen >= DISTURBED


def bottleneck(outcome: Outcome) -> Bottleneck:
    """By the rule above."""
    cell = outcome.cell
    known = resources(outcome)
    if cell.rate and outcome.rate >= _KEEPS_UP * cell.rate:
        held = max(known.values(), key=lambda one: one.share)
        words = f"{outcome.rate:,.0f} of {cell.rate:,.0f} posts a second; fullest: {held.evidence}"
        return Bottleneck("the offered load", full=False, grows=False, evidence=words)
    retry = known.pop("retry")
    wire, others = known["connections"], max(one.share for one in known.values())
    if wire.share >= FULL:
        return _full(wire)
    if retry.share >= min(FULL, max(others, 0.5)):
        return _full(retry)
    for key in ("machine", "process"):
        if key in known and known[key].share >= FULL:
            return _full(known[key])
    nearest = max([*known.values(), retry], key=lambda one: one.share)
    flying = f"; {outcome.in_flight:,.0f} of {cell.senders * IN_FLIGHT:,} mails in flight" if outcome.in_flight else ""
    return Bottleneck(
        f"nothing; nearest {nearest.name}", full=False, grows=nearest.grows, evidence=nearest.evidence + flying
    )


def _full(one: Resource) -> Bottleneck:
    return Bottleneck(one.name, full=True, grows=one.grows, evidence=one.evidence)


def _busiest(busy: Mapping[str, float]) -> str:
    single = {name: cores for name, cores in busy.items() if part_of(name) not in _SEVERAL_CORES}
    return max(single, key=lambda name: single[name], default="")
