"""Which egress of a pool a mail leaves from (ADR 0036)."""

import math
from collections.abc import Collection, Mapping
from hashlib import blake2b
from uuid import UUID

from mailwarren.contracts.egress import EgressState

GREYLISTED = "greylisted"
"""The class of replies that ask to come again from the same address."""
IP_BLOCKED = "ip_blocked"
"""The class of replies that refuse an address of ours, whatever mail comes from it."""
UNUSABLE = "egress"
"""The class of attempts that came to nothing because the address is not this host's."""
_LEAVES = frozenset({IP_BLOCKED, UNUSABLE})


def rank(weights: Mapping[str, float], mail: UUID) -> list[str]:
    """The egresses of a pool, the one for this mail first.

    By the mail alone (weighted rendezvous hashing), so that every sender and every attempt finds the same order, each
    egress is first for its share of all mail, and one that comes or goes moves no more mail than its own.
    """
    if len(weights) == 1:
        return list(weights)
    return sorted(weights, key=lambda name: _score(name, weights[name], mail), reverse=True)


def prefer(ranked: list[str], last: str, bounce_class: str | None) -> list[str]:
    """The order of a mail that was tried before.

    The egress of its last attempt comes first: who greylists knows the mail by the address that it comes from. It comes
    last when that address was what was wrong.

    Args:
        ranked: Of its pool.
        last: The egress of its last attempt; empty for none.
        bounce_class: How that attempt's reply was read.
    """
    if last not in ranked:
        return ranked
    others = [name for name in ranked if name != last]
    return [*others, last] if bounce_class in _LEAVES else [last, *others]


def any_open(states: Collection[EgressState], names: Collection[str], site: str) -> bool:
    """Whether one of some egresses is open for a site, by what a sender tells of its own.

    Args:
        states: What it tells.
        names: Those asked for.
        site: As numbers of a day are counted.
    """
    return any(
        state.open
        and state.name in names
        and not any(one.site == site and one.taken >= one.most for one in state.warming)
        for state in states
    )


def _score(name: str, weight: float, mail: UUID) -> float:
    drawn = int.from_bytes(blake2b(mail.bytes + name.encode(), digest_size=8).digest(), "big")
    return -weight / math.log((drawn + 0.5) / 2.0**64)
