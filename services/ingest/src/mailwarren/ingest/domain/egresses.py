"""What senders tell of the addresses that they send from: over all of them, and for a mail that waits for one."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from mailwarren.contracts.egress import EGRESSES_TOLD, OTHER_SITES, EgressState, Warming
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.shaping import Heartbeat


@dataclass(slots=True)
class EgressTotal:
    """An egress over all senders that have it."""

    name: str
    helo: str
    addresses: tuple[str, ...]
    senders: int = 0
    open_at: int = 0
    problems: list[str] = field(default_factory=list)
    warming: dict[str, Warming] = field(default_factory=dict)


def egresses_of(beat: Heartbeat) -> tuple[EgressState, ...]:
    """What a sender tells of its own; nothing where none are named."""
    return beat.egresses if isinstance(beat.egresses, tuple) else ()


def total_egresses(beats: Iterable[Heartbeat]) -> list[EgressTotal]:
    """The egresses that senders tell of, by name."""
    totals: dict[str, EgressTotal] = {}
    for beat in beats:
        for state in egresses_of(beat):
            total = totals.setdefault(state.name, EgressTotal(state.name, state.helo, state.addresses))
            total.senders += 1
            total.open_at += state.open
            total.problems += [problem for problem in state.problems if problem not in total.problems]
            for one in state.warming:
                known = total.warming.get(one.site)
                # All know the same of a day, some a moment later.
                if known is None or known.taken < one.taken:
                    total.warming[one.site] = one
    return sorted(totals.values(), key=lambda one: one.name)


def find_spent(beats: Iterable[Heartbeat], queue: str | None, lane: Lane, tenant: UUID, site: str | None) -> str | None:
    """Why no egress is open for a mail, in a sentence; None when one is, or that is not known.

    Args:
        beats: Of all live senders.
        queue: The mail's.
        lane: The mail's.
        tenant: The mail's.
        site: Where it goes; None when that is not known: then probably to a site without a row.
    """
    takers = [beat for beat in beats if queue in beat.queues]
    why: dict[str, str] = {}
    for beat in takers:
        states = egresses_of(beat)
        if not states or len(states) >= EGRESSES_TOLD:
            # It sends as its host does, or has more than it tells of.
            return None
        pool = _pool_of(beat, lane, tenant, site)
        for state in states:
            if pool is not None and state.name not in pool:
                continue
            told = _why(state, site)
            if told is None:
                return None
            why[state.name] = told
    if not takers:
        return None
    where = site or "sites without a row"
    listed = "; ".join(f"{name}: {told}" for name, told in sorted(why.items()))
    return (
        f"No egress of the senders that take from its queue may send it to {where} now "
        f"({listed or 'they have none of those that its route names'}). "
        "It waits on the ladder, at no cost of an attempt; numbers of a day begin anew at midnight UTC."
    )


def _pool_of(beat: Heartbeat, lane: Lane, tenant: UUID, site: str | None) -> tuple[str, ...] | None:
    """The egresses that a mail may leave from, whosever they are; None when the sender does not tell."""
    routes = beat.egress_routes if isinstance(beat.egress_routes, tuple) else ()
    return next(
        (
            route.egresses
            for route in routes
            if (not route.lanes or lane in route.lanes)
            and (not route.sites or site in route.sites)
            and (not route.tenants or tenant in route.tenants)
        ),
        None,
    )


def _why(state: EgressState, site: str | None) -> str | None:
    if not state.open:
        return next(iter(state.problems), "not checked yet")
    told = {one.site: one for one in state.warming}
    # A site without a row counts with all others of that kind, and only senders know the rows.
    number = told.get(site or OTHER_SITES) or told.get(OTHER_SITES)
    if number is None or number.taken < number.most:
        return None
    return f"{number.taken} of {number.most} mails of its warm-up today"
