"""Where one mail leaves from: the egress of its pool that is open, with a mail of the day's number in hand."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import structlog

from mailwarren.contracts.egress import EGRESSES_TOLD, OTHER_SITES, WARMING_TOLD, EgressState, PoolRoute, Warming
from mailwarren.contracts.parcel import Delivery, Parcel
from mailwarren.sender.domain.egress import GREYLISTED, prefer, rank
from mailwarren.sender.domain.warmup import Counted, end_of_day
from mailwarren.sender.egress import metrics
from mailwarren.sender.egress.checks import Checks
from mailwarren.sender.egress.leases import Leases
from mailwarren.sender.egress.plan import Egress, EgressPlan
from mailwarren.sender.shaping.shaper import NoEgress
from mailwarren.sender.smtp import Result, Shaping, Site, SiteLimits, Source

PASSED_ON = 4
"""Times that a greylisted mail is left to another sender: a minute and a half at most."""
MOST_SITES = 20_000
"""Sites as seen from an egress that are kept; the least recently used leave first."""
LOOK_EVERY = 1.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Departure:
    """A site as it is reached from an egress, and the number that the mail was taken of; without a plan neither."""

    site: Site
    counted: Counted | None = None

    @property
    def egress(self) -> str:
        """The name of the egress."""
        return self.site.source.name if self.site.source is not None else ""


class Departures:
    """For one event loop.

    Args:
        plan: The file in force; None sends as the host does.
        mine: The egresses that this sender has; none stands for all.
        shaping: The rows in force: a site with a row has a number of its own each day.
        leases: This process's part of the numbers.
        checks: Knows which egresses are closed.
        elsewhere: Whether another sender of these queues has one of some egresses open for a site.
    """

    def __init__(
        self,
        *,
        plan: Callable[[], EgressPlan | None],
        mine: Collection[str],
        shaping: Callable[[], Shaping],
        leases: Leases,
        checks: Checks,
        elsewhere: Callable[[Collection[str], str], bool],
    ) -> None:
        self.leases = leases
        self._plan = plan
        self._mine = frozenset(mine)
        self._shaping = shaping
        self._checks = checks
        self._elsewhere = elsewhere
        self._sites: OrderedDict[tuple[int, str], tuple[Site, Source, Site]] = OrderedDict()

    async def depart(self, site: Site, parcel: Parcel, delivery: Delivery) -> Departure:
        """The site as the mail is to reach it. To be followed by :meth:`arrived`, whatever becomes of the mail.

        Raises:
            NoEgress: none is open.
        """
        plan = self._plan()
        if plan is None:
            return Departure(site)
        pool = plan.pools[plan.pool_of(parcel.lane, site.name, parcel.tenant)]
        ranked = rank(pool, delivery.id)
        if (last := delivery.last) is not None and last.egress:
            ranked = prefer(ranked, last.egress, last.bounce_class)
            self._pass_on(site, parcel, last.egress, last.bounce_class)
        reason = metrics.NOT_HERE
        opens: float | None = None
        for name in ranked:
            if not self._has(name):
                continue
            egress = plan.egresses[name]
            if self._checks.closed(name):
                reason = metrics.CLOSED
            elif (seen := self._seen_from(egress, site)) is None:
                reason = metrics.UNREACHED
            else:
                counted = self._counted(egress, site.name)
                if counted is None:
                    return Departure(seen)
                key, most = counted
                if await self.leases.take(key, most):
                    return Departure(seen, key)
                reason, opens = metrics.USED_UP, end_of_day(key[2])
        metrics.record_egress_wait(reason)
        raise NoEgress(site.name, opens, elsewhere=self._is_open_elsewhere(ranked, site.name))

    def arrived(self, departure: Departure, result: Result | None) -> None:
        """The mail has its result; None when it has none, because something else was raised.

        What did not get to its final dot was no mail to whom the warm-up is for.
        """
        if departure.counted is not None and (result is None or result.dot_at is None):
            self.leases.give_back(departure.counted)

    def limits_of(self, site: Site, by_rules: Callable[[Site], SiteLimits | None]) -> SiteLimits | None:
        """The limits that a site has now; None when its mail goes another way, or from another source."""
        plan, source = self._plan(), site.source
        if source is None:
            known = plan is None
        else:
            egress = plan.egresses.get(source.name) if plan is not None else None
            known = egress is not None and egress.source == source
        return by_rules(site) if known else None

    def states(self) -> tuple[EgressState, ...]:
        """What this sender tells of its egresses; nothing without a plan."""
        plan = self._plan()
        if plan is None:
            return ()
        mine = [egress for name, egress in plan.egresses.items() if not self._mine or name in self._mine]
        return tuple(self._state(egress) for egress in mine[:EGRESSES_TOLD])

    def routes(self) -> tuple[PoolRoute, ...]:
        """Which mail leaves from which egresses; nothing without a plan, or where that is too much to tell."""
        plan = self._plan()
        return () if plan is None else plan.tell_routes()

    async def run(self) -> None:
        """Give back what is not used, and show how it stands; for ever."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            try:
                metrics.record_egresses(self.states())
                await self.leases.look()
            except Exception:
                log.exception("sender.egress.error")

    @property
    def planned(self) -> bool:
        """Whether there is a plan: without one, mail leaves as the host sends it."""
        return self._plan() is not None

    # --- inside ---

    def _pass_on(self, site: Site, parcel: Parcel, last: str, bounce_class: str | None) -> None:
        """Leave a mail that is greylisted to the sender that has its egress, a few times: any may take it.

        Raises:
            NoEgress: it is left.
        """
        greylisted = bounce_class == GREYLISTED and parcel.shaped < PASSED_ON
        if greylisted and self._is_open_elsewhere([last], site.name):
            metrics.record_egress_wait(metrics.PASSED_ON)
            raise NoEgress(site.name, None, elsewhere=True)

    def _is_open_elsewhere(self, names: Collection[str], site: str) -> bool:
        others = [name for name in names if not self._has(name)]
        return bool(others) and self._elsewhere(others, self._count_as(site))

    def _has(self, name: str) -> bool:
        """Whether an egress is this sender's: mail may not leave from it all the same."""
        return (not self._mine or name in self._mine) and self._checks.bound(name)

    def _state(self, egress: Egress) -> EgressState:
        return EgressState(
            egress.name,
            egress.source.helo,
            egress.addresses,
            open=not self._checks.closed(egress.name),
            problems=self._checks.problems(egress.name),
            warming=tuple(self._warming(egress))[:WARMING_TOLD],
        )

    def _warming(self, egress: Egress) -> list[Warming]:
        """Today's numbers: of the sites that had mail today, and of all others together."""
        today = self.leases.today
        if egress.warm_up is None:
            return []
        taken = {site: count for (name, site), count in self.leases.of_today().items() if name == egress.name}
        found = []
        for site in dict.fromkeys((OTHER_SITES, *taken, *egress.warm_up.sites)):
            most = egress.warm_up.most(site, today)
            if most is not None:
                found.append(Warming(site, most, taken.get(site, 0)))
        return sorted(found, key=lambda one: (-one.taken, one.site))

    def _counted(self, egress: Egress, site: str) -> tuple[Counted, int] | None:
        """The number that a mail is of, and how much that is; None when any number goes."""
        if egress.warm_up is None:
            return None
        counted, today = self._count_as(site), self.leases.today
        most = egress.warm_up.most(counted, today)
        return None if most is None else ((egress.name, counted, today), most)

    def _count_as(self, site: str) -> str:
        return site if site in self._shaping().names else OTHER_SITES

    def _seen_from(self, egress: Egress, site: Site) -> Site | None:
        """The site with those hosts that the egress reaches; None when that is none of them."""
        key = id(site), egress.name
        known = self._sites.get(key)
        # The site is kept with it, so that no other one has its identity.
        if known is not None and known[0] is site and known[1] is egress.source:
            self._sites.move_to_end(key)
            return known[2]
        hosts = tuple(host for host in site.hosts if egress.source.reaches(host))
        if not hosts:
            return None
        seen = replace(site, hosts=hosts, source=egress.source)
        self._sites[key] = site, egress.source, seen
        if len(self._sites) > MOST_SITES:
            self._sites.popitem(last=False)
        return seen
