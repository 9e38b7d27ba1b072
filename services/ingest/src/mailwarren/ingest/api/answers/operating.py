"""What the API answers to those who operate the system; all of it is ours."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.shaping import Scope
from mailwarren.ingest.api.answers.emails import SCHEDULED, LastReply
from mailwarren.ingest.domain.explain import WaitsFor
from mailwarren.ingest.domain.queues import QueueKind, QueueState
from mailwarren.store.states import State


class OverrideShown(msgspec.Struct, frozen=True, kw_only=True):
    """A limit or a suspension of a site or a tenant."""

    object: str = "override"
    id: UUID
    scope: Scope
    name: str
    since: datetime
    until: datetime
    in_force: bool
    suspend: bool
    connections: Annotated[int | None, Meta(description="Over all senders, where lower than the row's.")]
    rate: Annotated[float | None, Meta(description="Mails a second, the same.")]
    lane: Annotated[Lane | None, Meta(description="The only one of a tenant's that is suspended; null: all.")]
    cause: Annotated[
        str, Meta(description="`rule:<bounce class>`, `breaker`, `bounces` or `person:<name of the API key>`.")
    ]
    sample: Annotated[str, Meta(description="The reply that caused it, or the person's reason.")]
    ended_at: Annotated[datetime | None, Meta(description="When it was ended before `until`.")]
    ended_by: str | None


class SiteShown(msgspec.Struct, frozen=True, kw_only=True):
    """A site as the live senders tell of it, all together."""

    name: str
    open: Annotated[int, Meta(description="Connections.")]
    busy: Annotated[int, Meta(description="Of these, with a mail.")]
    waiting: Annotated[int, Meta(description="Mails that senders hold for it.")]
    slots: Annotated[int, Meta(description="Connections that senders may have now.")]
    rate: Annotated[float, Meta(description="Mails a second, over ten seconds.")]
    senders: int
    overrides: Annotated[list[UUID], Meta(description="Those in force.")]


class ShapingList(msgspec.Struct, frozen=True, kw_only=True):
    """Who is slowed down and why, newest first; and the sites that senders tell of."""

    object: str = "list"
    has_more: bool
    data: list[OverrideShown]
    sites: list[SiteShown]


class OverrideGone(msgspec.Struct, frozen=True, kw_only=True):
    """The override ends; senders obey within two seconds."""

    object: str = "override"
    id: UUID
    deleted: bool = True


class QueueShown(msgspec.Struct, frozen=True, kw_only=True):
    """A queue. Each message of a send queue is a parcel of up to 50 mails."""

    name: str
    kind: QueueKind
    lane: Lane | None
    shard: str | None
    messages: Annotated[int | None, Meta(description="Ready; null when the queue is missing or did not answer.")]
    consumers: int
    rate: Annotated[
        float | None,
        Meta(description="Messages a second by which it grew, below 0 shrank; null without an earlier look."),
    ]
    state: QueueState


class QueueList(msgspec.Struct, frozen=True, kw_only=True):
    """The queues that mail and orders go through."""

    object: str = "list"
    data: list[QueueShown]


class WarmingShown(msgspec.Struct, frozen=True, kw_only=True):
    """Mails that an egress may send to a site today (UTC), and those that senders have taken of them."""

    site: Annotated[str, Meta(description="Its row, or `other`: all sites without one together.")]
    limit: int
    taken: int


class EgressShown(msgspec.Struct, frozen=True, kw_only=True):
    """An address, or some, that mail leaves from, and the name that is said there."""

    name: str
    helo: str
    addresses: Annotated[list[str], Meta(description="As others see them.")]
    senders: Annotated[int, Meta(description="Live senders that have it.")]
    open: Annotated[bool, Meta(description="Mail may leave from it at all of them.")]
    problems: Annotated[list[str], Meta(description="What its checks found: expected and found.")]
    warming: Annotated[list[WarmingShown], Meta(description="Today's numbers of its warm-up; none: it is warm.")]


class SenderShown(msgspec.Struct, frozen=True, kw_only=True):
    """A live sender process."""

    id: UUID
    host: str
    fleet: str
    version: str
    started_at: datetime
    heard: Annotated[float, Meta(description="Seconds since its last heartbeat; after 6 it is taken for gone.")]
    queues: list[str]
    in_flight: int
    limit: int
    waiting: Annotated[int, Meta(description="Mails that it holds for slow sites.")]
    rate: Annotated[float, Meta(description="Mails a second, over ten seconds.")]
    sites: int
    tls_broken: Annotated[
        list[str],
        Meta(
            description="Mail hosts that it speaks to in the clear for an hour because their TLS handshake broke and "
            "nothing requires TLS; the latest 20."
        ),
    ]
    egresses: Annotated[
        list[str], Meta(description="What it sends from; empty where none are named: then as its host does.")
    ]


class SenderList(msgspec.Struct, frozen=True, kw_only=True):
    """Who sends. ``listening_for``: seconds for which this process has heard them; before 6 the list may lack some."""

    object: str = "list"
    listening_for: float
    data: list[SenderShown]
    egresses: Annotated[list[EgressShown], Meta(description="What mail leaves from, over all of them.")]


class DeadShown(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """A dead letter without addresses and content; the last three are of a parcel."""

    id: UUID
    number: Annotated[int, Meta(description="Its place now: 1 is the oldest.")]
    reason: str
    from_: str
    replay_to: str | None
    bytes: int
    parcel: UUID | msgspec.UnsetType = msgspec.UNSET
    deliveries: int | msgspec.UnsetType = msgspec.UNSET
    attempt: int | msgspec.UnsetType = msgspec.UNSET


class DeadList(msgspec.Struct, frozen=True, kw_only=True):
    """The oldest dead letters."""

    object: str = "list"
    data: list[DeadShown]


class DeadFull(DeadShown, frozen=True, kw_only=True, rename={"from_": "from"}):
    """A dead letter with its headers, and whom it was for or its body."""

    object: str = "dead_letter"
    headers: dict[str, Any]
    subject: str | msgspec.UnsetType = msgspec.UNSET
    to: list[dict[str, Any]] | msgspec.UnsetType = msgspec.UNSET
    body: str | msgspec.UnsetType = msgspec.UNSET


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """How many dead letters went back, and how many are left."""

    object: str = "replay"
    replayed: int
    left: int


class LastTry(msgspec.Struct, frozen=True, kw_only=True):
    """The attempt before."""

    number: int
    at: datetime
    site: str | None
    reply: LastReply | None


class DeliveryExplained(msgspec.Struct, frozen=True, kw_only=True):
    """Where one address stands and why."""

    id: UUID
    to: str
    state: Annotated[str, Meta(extra_json_schema={"enum": [SCHEDULED, *sorted(State)]})]
    summary: Annotated[str, Meta(description="For a person.")]
    waits_for: WaitsFor
    lane: Lane
    shard: str | None = None
    queue: str | None = None
    queue_state: QueueState | None = None
    ahead_at_most: Annotated[
        int | None,
        Meta(
            description="An estimate, never too low: the messages ready in its queue, each of up to 50 mails. Only for "
            "mail that waits for its first attempt."
        ),
    ] = None
    senders: Annotated[int | None, Meta(description="Live ones that take from its queue; null: not known yet.")] = None
    site: str | None = None
    site_guessed: Annotated[bool, Meta(description="By its shard: nothing has been tried yet.")] = False
    site_now: Annotated[SiteShown | None, Meta(description="How the site stands, as senders tell.")] = None
    overrides: list[OverrideShown] = []
    last_attempt: LastTry | None = None
    next_attempt_at: Annotated[datetime | None, Meta(description="Not before; null: as soon as it is its turn.")] = None
    ladder: Annotated[str | None, Meta(description="Why it waits on the ladder: `deferred`, `shaped` or `keys`.")] = (
        None
    )
    budget_ends_at: Annotated[datetime | None, Meta(description="It is given up then.")] = None


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """Why an email has not been sent, or what became of it; address by address."""

    object: str = "explanation"
    id: UUID
    at: datetime
    data: list[DeliveryExplained]
