"""The file of egresses, read: who they are, which pools they make, and which mail goes through which pool."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from mailwarren.contracts.egress import ROUTED_TOLD, PoolRoute
from mailwarren.contracts.lanes import Lane
from mailwarren.sender.domain.warmup import WarmUp
from mailwarren.sender.smtp import Source

DEFAULT_POOL = "default"
"""The pool of mail that no route names another one for."""


@dataclass(frozen=True, slots=True)
class Egress:
    """An address of ours with its name.

    Attributes:
        source: What connections come from.
        public: The addresses that others see, where those of ``source`` are behind a translation (NAT) or not named.
        warm_up: How it is warmed up; None for one that is warm.
    """

    source: Source
    public: tuple[str, ...] = ()
    warm_up: WarmUp | None = None

    @property
    def name(self) -> str:
        """What the operator calls it."""
        return self.source.name

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses that others see, as far as they are known."""
        return self.public or tuple(one for one in (self.source.ipv4, self.source.ipv6) if one is not None)


@dataclass(frozen=True, slots=True)
class EgressRoute:
    """Which mail goes through a pool; an empty set stands for all."""

    pool: str
    lanes: frozenset[Lane] = frozenset()
    sites: frozenset[str] = frozenset()
    tenants: frozenset[UUID] = frozenset()

    def fits(self, lane: Lane, site: str, tenant: UUID) -> bool:
        """Whether it is for this mail."""
        return (
            (not self.lanes or lane in self.lanes)
            and (not self.sites or site in self.sites)
            and (not self.tenants or tenant in self.tenants)
        )


@dataclass(frozen=True, slots=True)
class EgressPlan:
    """All of it. ``senders`` are domains of envelope senders whose SPF has to pass every egress."""

    egresses: Mapping[str, Egress]
    pools: Mapping[str, Mapping[str, float]]
    routes: tuple[EgressRoute, ...] = ()
    senders: tuple[str, ...] = ()

    def pool_of(self, lane: Lane, site: str, tenant: UUID) -> str:
        """The pool of a mail: of the first route that fits."""
        return next((route.pool for route in self.routes if route.fits(lane, site, tenant)), DEFAULT_POOL)

    def tell_routes(self) -> tuple[PoolRoute, ...]:
        """The routes for others, the default pool's last; nothing when that is too much to tell."""
        told = tuple(
            PoolRoute(
                tuple(self.pools[one.pool]),
                tuple(sorted(one.lanes)),
                tuple(sorted(one.sites)),
                tuple(sorted(one.tenants)),
            )
            for one in (*self.routes, EgressRoute(DEFAULT_POOL))
        )
        names = sum(len(one.egresses) + len(one.lanes) + len(one.sites) + len(one.tenants) for one in told)
        return told if names <= ROUTED_TOLD else ()
