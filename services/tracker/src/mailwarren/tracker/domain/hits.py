"""What hits say about the mail that they are of: which count, and what they add to its rows. Pure."""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple
from uuid import UUID

import msgspec
from msgspec.structs import replace

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.routing import ERASED_DOMAIN, domain_of
from mailwarren.contracts.tracking import COUNTED, Flag, Hit, HitKind
from mailwarren.store.states import State

QUICK = 3.0
"""Seconds after its delivery in which nobody reads a mail: whatever fetches it so soon looks for harmful links."""


class Reached(NamedTuple):
    """A delivery that hits may be of. ``ended_at`` is Unix seconds."""

    tenant: UUID
    address: str
    lane: Lane
    state: State
    ended_at: float | None
    opened: bool
    clicked: bool


class Seen(NamedTuple):
    """A hit that is recorded, its flag as it was judged, and the delivery that it is of.

    ``first``: no hit of its kind counted for the delivery before.
    """

    hit: Hit
    to: str
    lane: Lane
    first: bool

    @property
    def counts(self) -> bool:
        """Whether it is told and counted as its reader's."""
        return self.hit.flag in COUNTED


class Tally(msgspec.Struct):
    """What hits add to a delivery's row: how many count, and when the first of them was (Unix seconds)."""

    opens: int = 0
    clicks: int = 0
    opened_at: float | None = None
    clicked_at: float | None = None

    def add(self, hit: Hit) -> None:
        """Count one."""
        if hit.kind is HitKind.OPENED:
            self.opens += 1
            self.opened_at = hit.at if self.opened_at is None else min(self.opened_at, hit.at)
        else:
            self.clicks += 1
            self.clicked_at = hit.at if self.clicked_at is None else min(self.clicked_at, hit.at)


def flag_of(hit: Hit, reached: Reached) -> Flag | None:
    """A hit's flag, when what is known of its delivery is taken into account."""
    if hit.flag not in COUNTED:
        return hit.flag
    if reached.ended_at is None:
        # The partition keeps the order: the delivery was not reported when the hit came. A deferral was: the server
        # may have taken the mail all the same.
        return Flag.QUICK if reached.state is State.ACCEPTED else hit.flag
    return Flag.QUICK if hit.at - reached.ended_at < QUICK else hit.flag


def judge(hits: Iterable[Hit], known: Mapping[UUID, Reached], recorded: AbstractSet[UUID]) -> list[Seen]:
    """The hits that are news, each once.

    Args:
        hits: of a batch, in their order.
        known: deliveries that have a row. Hits of others (their mail was forgotten) are left out.
        recorded: ids of hits that have been recorded before.
    """
    found: list[Seen] = []
    ids = set(recorded)
    firsts: set[tuple[UUID, HitKind]] = set()
    for hit in hits:
        reached = known.get(hit.delivery)
        if hit.id in ids or reached is None or reached.tenant != hit.tenant:
            continue
        ids.add(hit.id)
        judged = replace(hit, flag=flag_of(hit, reached))
        if domain_of(reached.address) == ERASED_DOMAIN:
            # The links of a mail work after the erasure of its reader, of whom nothing is kept any more.
            judged = replace(judged, link=None, agent="", ip=None)
        before = reached.opened if hit.kind is HitKind.OPENED else reached.clicked
        place = hit.delivery, hit.kind
        first = judged.flag in COUNTED and not before and place not in firsts
        if first:
            firsts.add(place)
        found.append(Seen(judged, reached.address, reached.lane, first))
    return found


def tallies(seen: Iterable[Seen]) -> dict[UUID, Tally]:
    """What they add to their deliveries."""
    found: dict[UUID, Tally] = {}
    for one in seen:
        if one.counts:
            found.setdefault(one.hit.delivery, Tally()).add(one.hit)
    return found
