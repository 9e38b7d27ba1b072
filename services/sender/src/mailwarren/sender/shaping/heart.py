"""This process tells all others that it lives, and what it does at which site."""

import asyncio
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from uuid import UUID

import msgspec

from mailwarren.contracts.egress import EgressState, PoolRoute
from mailwarren.contracts.shaping import (
    HEARTBEAT_EVERY,
    HOSTS_TOLD,
    SITES_TOLD,
    Heartbeat,
    MissingKeys,
    SiteState,
)
from mailwarren.sender.adapters.notices import Notices
from mailwarren.sender.shaping.shaper import Shaper
from mailwarren.sender.smtp import Pool

BEATS_MEASURED = 5
"""Beats over which mails are counted: ten seconds."""


@dataclass(frozen=True, slots=True)
class Vitals:
    """What the engine knows: deliveries worked on, how many at most, how many have ended; whose keys it misses."""

    in_flight: int
    limit: int
    ended: int
    missing_keys: tuple[MissingKeys, ...] = ()


class Heart:
    """Beats every two seconds, and a last time at the end.

    Args:
        me: This process.
        fleet: The name of its fleet.
        queues: What it consumes, without prefix.
        egresses: What it sends from, as it is now.
        egress_routes: Which mail leaves from which egresses.
    """

    def __init__(
        self,
        *,
        me: UUID,
        fleet: str,
        queues: Sequence[str],
        notices: Notices,
        pool: Pool,
        shaper: Shaper,
        vitals: Callable[[], Vitals],
        egresses: Callable[[], tuple[EgressState, ...]] = tuple,
        egress_routes: Callable[[], tuple[PoolRoute, ...]] = tuple,
    ) -> None:
        self._me = me
        self._fleet = fleet
        self._queues = tuple(queues)
        self._notices = notices
        self._pool = pool
        self._shaper = shaper
        self._vitals = vitals
        self._egresses = egresses
        self._egress_routes = egress_routes
        self._started_at = time.time()
        self._ended: deque[int] = deque(maxlen=BEATS_MEASURED + 1)
        self._begun: dict[str, deque[int]] = {}
        self._version = metadata.version("mailwarren-sender")

    async def run(self) -> None:
        """Beat for ever."""
        while True:
            await self._notices.say(self._beat())
            await asyncio.sleep(HEARTBEAT_EVERY)

    async def stop(self) -> None:
        """The last beat."""
        await self._notices.say(self._beat(leaving=True))

    def _beat(self, *, leaving: bool = False) -> Heartbeat:
        vitals = self._vitals()
        self._ended.append(vitals.ended)
        return Heartbeat(
            sender=self._me,
            host=os.environ.get("HOSTNAME") or socket.gethostname(),
            fleet=self._fleet,
            version=self._version,
            started_at=self._started_at,
            at=time.time(),
            queues=self._queues,
            in_flight=vitals.in_flight,
            limit=vitals.limit,
            waiting=self._shaper.waiting,
            mails_10s=self._ended[-1] - self._ended[0],
            leaving=leaving,
            sites=self._sites(),
            missing_keys=vitals.missing_keys,
            tls_broken=tuple(one.host for one in self._pool.broken_tls()[-HOSTS_TOLD:]) or msgspec.UNSET,
            egresses=self._egresses() or msgspec.UNSET,
            egress_routes=self._egress_routes() or msgspec.UNSET,
        )

    def _sites(self) -> tuple[SiteState, ...]:
        known = {site.name: site for site in self._pool.stats().sites}
        held = {name: self._shaper.waiting_for(name) for name in self._shaper.waited_for}

        def weight(name: str) -> int:
            site = known.get(name)
            return held.get(name, 0) + (site.waiting + site.open if site is not None else 0)

        told = sorted(known.keys() | held.keys(), key=weight, reverse=True)[:SITES_TOLD]
        self._begun = {name: self._begun.get(name) or deque(maxlen=BEATS_MEASURED + 1) for name in told}
        states = []
        for name in told:
            site, queue = known.get(name), self._pool.at(name)
            begun = self._begun[name]
            begun.append(queue.begun if queue is not None else 0)
            states.append(
                SiteState(
                    name,
                    open=site.open if site is not None else 0,
                    busy=site.busy if site is not None else 0,
                    waiting=held.get(name, 0) + (site.waiting if site is not None else 0),
                    slots=self._shaper.slots_of(name),
                    rate_10s=max(0, begun[-1] - begun[0]) / (BEATS_MEASURED * HEARTBEAT_EVERY),
                )
            )
        return tuple(states)
