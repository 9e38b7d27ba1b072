"""Shaping: limits that change while mail flows, the slots of a site, and what senders tell of themselves.

A *slot* is one allowed connection to a site, cluster-wide; its :class:`Token` is a message that is held unacked while
the slot is used. An *override* replaces a row's limits for a time. Overrides and plans are entries of the control log
under :data:`SHAPING_KEY`; heartbeats and sightings go over ``mail.control`` and may be lost.
"""

from enum import StrEnum
from uuid import UUID

import msgspec

from mailwarren.contracts.egress import EgressState, PoolRoute
from mailwarren.contracts.lanes import Lane

SHAPING_KEY = "shaping"
"""The routing key of overrides, their ends and slot plans in the control log."""
LONGEST_OVERRIDE = 24 * 3600.0
"""Seconds from its ``since`` to its ``until`` at most: what is to hold longer is a row of ``shaping.toml``."""
BOUNCES = "bounces"
"""The cause of a pause of a tenant's bulk mail: too much of its mail bounced or drew complaints."""
SAMPLE_LENGTH = 300
"""Characters of a sample."""
HEARTBEAT_EVERY = 2.0
"""Seconds between two heartbeats of a sender."""
LIVE_FOR = 3 * HEARTBEAT_EVERY
"""Seconds after its last heartbeat for which a sender counts as alive."""
SITES_TOLD = 50
"""Sites in a heartbeat at most: those with the most mail waiting or connections open."""
KEYS_TOLD = 20
"""Domains in a heartbeat at most whose keys are missing: those missing for longest."""
HOSTS_TOLD = 20
"""Hosts with broken TLS in a heartbeat at most."""


class Scope(StrEnum):
    """What an override is about."""

    SITE = "site"
    TENANT = "tenant"


class Override(msgspec.Struct, frozen=True, omit_defaults=True, tag="override"):
    """Limits in force for a time, at most :data:`LONGEST_OVERRIDE` from ``since`` to ``until`` (Unix seconds).

    ``id`` is :func:`mailwarren.contracts.ids.override_id` where senders see a cause alone, so that two that see the
    same write the same. ``name`` is a site, or a tenant's id. ``connections`` and ``rate`` (mails a second) are
    cluster-wide and hold where they are lower than the row's. A ``lane`` is the only one of a tenant's that is
    suspended. ``cause`` is ``rule:<class>``, ``breaker``, ``bounces`` (of a tenant) or ``person:<who>``; ``sample``
    the reply that caused it, or figures, at most :data:`SAMPLE_LENGTH` characters.
    """

    id: UUID
    scope: Scope
    name: str
    since: float
    until: float
    suspend: bool = False
    connections: int | None = None
    rate: float | None = None
    cause: str = ""
    sample: str = ""
    lane: Lane | None = None


class OverrideEnd(msgspec.Struct, frozen=True, omit_defaults=True, tag="override_end"):
    """An override ends before its time: a person took it away, or its cause is gone."""

    id: UUID
    at: float
    by: str = ""


class SlotPlan(msgspec.Struct, frozen=True, tag="slot_plan"):
    """How many slots a site has. Tokens of another generation are worth nothing from ``valid_from`` (Unix seconds) on.

    ``reserved`` of the ``connections`` are for the high lane.
    """

    site: str
    generation: int
    connections: int
    reserved: int
    valid_from: float


class Token(msgspec.Struct, frozen=True, tag="token"):
    """One slot of a site."""

    site: str
    generation: int
    index: int


class Keeper(msgspec.Struct, frozen=True, tag="keeper"):
    """The message of ``slots.keeper``: the sender that holds it fills the queues of slots.

    ``at`` is when it was put there. A second one does no harm: the queue has one active consumer, which takes one.
    """

    at: float


class SiteState(msgspec.Struct, frozen=True):
    """A site as one sender sees it.

    ``open`` connections, of which ``busy`` have a mail; ``waiting`` mails; ``slots`` is how many connections the sender
    may have now; ``rate_10s`` is mails a second over the last ten.
    """

    name: str
    open: int = 0
    busy: int = 0
    waiting: int = 0
    slots: int = 0
    rate_10s: float = 0.0


class MissingKeys(msgspec.Struct, frozen=True):
    """A domain whose mail waits at a sender because its DKIM keys cannot be had, since when (Unix seconds), and why."""

    tenant: UUID
    domain: str
    since: float
    why: str


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="heartbeat"):
    """A sender process says that it lives, every :data:`HEARTBEAT_EVERY` seconds. Times are Unix seconds.

    ``in_flight`` deliveries are worked on, of at most ``limit``; ``waiting`` are held for a site. ``mails_10s`` is how
    many ended in the last ten seconds. ``leaving`` is the last word of a sender that stops. ``missing_keys`` are
    at most :data:`KEYS_TOLD` domains. ``tls_broken`` are mail hosts that it speaks to in the clear because their
    handshakes broke: the latest :data:`HOSTS_TOLD`; left out without any. ``egresses`` are those that it sends from,
    left out where none are named: then it sends as its host does. ``egress_routes`` say which mail leaves from which,
    left out where that is too much to tell.
    """

    sender: UUID
    host: str
    fleet: str
    version: str
    started_at: float
    at: float
    queues: tuple[str, ...]
    in_flight: int
    limit: int
    waiting: int
    mails_10s: int
    leaving: bool = False
    sites: tuple[SiteState, ...] = ()
    missing_keys: tuple[MissingKeys, ...] = ()
    tls_broken: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    egresses: tuple[EgressState, ...] | msgspec.UnsetType = msgspec.UNSET
    egress_routes: tuple[PoolRoute, ...] | msgspec.UnsetType = msgspec.UNSET


class Sighting(msgspec.Struct, frozen=True, tag="sighting"):
    """A reply rule with a threshold fitted ``count`` times at one sender; all senders count together."""

    site: str
    tenant: UUID | None
    rule: str
    at: float
    count: int
    sample: str


Notice = Heartbeat | Sighting
"""What goes over ``mail.control``."""
