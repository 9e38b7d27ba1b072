"""What is in force now: overrides and slot plans as the control log tells of them, entry by entry (DESIGN §6)."""

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.shaping import Override, OverrideEnd, Scope, SlotPlan

BREAKER = "breaker"
"""The cause of an override that a site's breaker made."""
PROBED_FOR = 600.0
"""Seconds after a breaker's end for which a site gets one connection, unless that one works sooner."""

Entry = Override | OverrideEnd | SlotPlan


@dataclass(frozen=True, slots=True)
class Force:
    """The sum of all overrides of a site. ``suspended`` is until when; None of a limit leaves the row's.

    ``probed`` is the breaker's last override, when it is over and no connection has worked since.
    """

    suspended: float | None = None
    connections: int | None = None
    rate: float | None = None
    probed: Override | None = None


NOTHING = Force()


class InForce:
    """Follows the log. ``now`` is Unix time; entries may be repeated.

    Attributes:
        names: The sites that anything may be in force for; all others have the limits of their rows.
        tenants: Likewise.
    """

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.tenants: set[str] = set()
        self._overrides: dict[tuple[Scope, str], dict[UUID, Override]] = {}
        self._ended: dict[UUID, float] = {}
        self._plans: dict[str, list[SlotPlan]] = {}

    def apply(self, entry: Entry, now: float) -> str | None:
        """Take note of an entry; returns the site that it changes something for."""
        match entry:
            case SlotPlan():
                self._plan(entry)
                return entry.site
            case Override():
                return self._begin(entry, now)
            case OverrideEnd():
                return self._end(entry)

    def site(self, name: str, now: float) -> Force:
        """What is in force for a site."""
        return self._sum(Scope.SITE, name, now) if name in self.names else NOTHING

    def tenant(self, tenant: UUID, lane: Lane, now: float) -> float | None:
        """Until when a tenant's mail of a lane is suspended."""
        if not self.tenants or str(tenant) not in self.tenants:
            return None
        active = self.active(Scope.TENANT, str(tenant), now)
        return max((one.until for one in active if one.suspend and one.lane in (None, lane)), default=None)

    def active(self, scope: Scope, name: str, now: float) -> Iterator[Override]:
        """The overrides of a site or a tenant that are in force."""
        return (one for one in self._overrides.get((scope, name), {}).values() if one.since <= now < one.until)

    def overrides(self, now: float) -> Iterator[Override]:
        """All that are in force."""
        return (one for found in self._overrides.values() for one in found.values() if one.since <= now < one.until)

    def plan(self, site: str, now: float) -> SlotPlan | None:
        """The plan that is valid."""
        return next((plan for plan in reversed(self._plans.get(site, ())) if plan.valid_from <= now), None)

    def coming(self, site: str, now: float) -> SlotPlan | None:
        """The plan that will be valid."""
        plans = self._plans.get(site)
        return plans[-1] if plans and plans[-1].valid_from > now else None

    def last_plan(self, site: str) -> SlotPlan | None:
        """The newest plan, valid or not yet."""
        plans = self._plans.get(site)
        return plans[-1] if plans else None

    def changes(self, since: float, now: float) -> Iterator[str]:
        """The sites for which something began or ended in that time by the clock alone; forgets what is long over."""
        for (scope, name), found in list(self._overrides.items()):
            times = [time for one in found.values() for time in (one.since, one.until, one.until + PROBED_FOR)]
            if scope is Scope.SITE and any(since < time <= now for time in times):
                yield name
            for one in list(found.values()):
                if one.until + PROBED_FOR <= now:
                    self._drop(one)
        for site, plans in self._plans.items():
            if any(since < plan.valid_from <= now for plan in plans):
                yield site

    # --- inside ---

    def _plan(self, plan: SlotPlan) -> None:
        plans = self._plans.setdefault(plan.site, [])
        # A keeper that lost its post may be late with a plan; the higher generation counts, whatever the order.
        plans[:] = [one for one in plans if one.generation != plan.generation]
        plans.append(plan)
        plans.sort(key=lambda one: one.generation)
        del plans[:-2]

    def _begin(self, override: Override, now: float) -> str | None:
        if self._ended.get(override.id, 0.0) >= override.since or override.until + PROBED_FOR <= now:
            return None
        found = self._overrides.setdefault((override.scope, override.name), {})
        known = found.get(override.id)
        if known is not None and known.until >= override.until:
            return None
        found[override.id] = override
        (self.names if override.scope is Scope.SITE else self.tenants).add(override.name)
        return override.name if override.scope is Scope.SITE else None

    def _end(self, end: OverrideEnd) -> str | None:
        self._ended[end.id] = end.at
        for (scope, name), found in list(self._overrides.items()):
            known = found.get(end.id)
            if known is not None and known.since <= end.at:
                self._drop(known)
                return name if scope is Scope.SITE else None
        return None

    def _drop(self, override: Override) -> None:
        found = self._overrides[override.scope, override.name]
        del found[override.id]
        if not found:
            del self._overrides[override.scope, override.name]
            (self.names if override.scope is Scope.SITE else self.tenants).discard(override.name)

    def _sum(self, scope: Scope, name: str, now: float) -> Force:
        known = self._overrides.get((scope, name), {}).values()
        active = [one for one in known if one.since <= now < one.until]
        over = [one for one in known if one.cause == BREAKER and one.until <= now < one.until + PROBED_FOR]
        return Force(
            suspended=max((one.until for one in active if one.suspend), default=None),
            connections=min((one.connections for one in active if one.connections is not None), default=None),
            rate=min((one.rate for one in active if one.rate is not None), default=None),
            probed=max(over, key=lambda one: one.until, default=None),
        )
