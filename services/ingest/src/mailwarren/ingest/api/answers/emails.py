"""Answers of ``/v1/emails``."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.parcel import OnUnknown, Role
from mailwarren.contracts.tracking import Flag
from mailwarren.store.states import State

SCHEDULED = "scheduled"
"""The state of a delivery that is not in the ledger yet."""


class Sent(msgspec.Struct, frozen=True):
    """An accepted email."""

    id: UUID


class RowProblem(msgspec.Struct, frozen=True):
    """Why the element at ``index`` of the request was not accepted."""

    index: int
    message: str


class BatchSent(msgspec.Struct, frozen=True):
    """The accepted emails in the order of the request, without those in ``errors``.

    ``errors`` stands in permissive answers; in a strict one only when the broker confirmed some emails and not others.
    """

    data: list[Sent]
    errors: list[RowProblem] | msgspec.UnsetType = msgspec.UNSET


class BulkRow(msgspec.Struct, frozen=True):
    """An accepted recipient: the id of the email made for it, its place in the request, its address."""

    index: int
    id: UUID
    to: str


class BulkSent(msgspec.Struct, frozen=True):
    """``id`` names the call; each row is an email with an id of its own."""

    id: UUID
    data: list[BulkRow]
    errors: list[RowProblem]


class Tag(msgspec.Struct, frozen=True):
    """A tag of an email."""

    name: str
    value: str


class LastReply(msgspec.Struct, frozen=True, kw_only=True):
    """What the receiving server said last; ``trouble`` our own words when it said nothing."""

    code: int | None
    enhanced: str | None
    text: str | None
    command: str | None
    trouble: str | None
    bounce_class: str | None
    host: str | None


class DeliveryStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One address of an email. ``attempt`` counts tries; times are null until they are known."""

    id: UUID
    to: str
    role: Role | None
    state: Annotated[str, Meta(extra_json_schema={"enum": [SCHEDULED, *sorted(State)]})]
    attempt: int
    updated_at: datetime
    ended_at: datetime | None
    next_attempt_at: datetime | None
    reply: LastReply | None
    opens: Annotated[int, Meta(description="That count as its reader's.")] = 0
    clicks: Annotated[int, Meta(description="The same of clicks.")] = 0
    opened_at: Annotated[datetime | None, Meta(description="The first of them.")] = None
    clicked_at: datetime | None = None


class EmailShort(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """An email in a list: ``html`` and ``text`` are null here, read the email for them."""

    id: UUID
    message_id: Annotated[str, Meta(description="With its angle brackets.")]
    to: list[str]
    from_: str
    created_at: datetime
    subject: str
    html: str | None = None
    text: str | None = None
    cc: list[str]
    bcc: list[str]
    reply_to: list[str]
    last_event: Annotated[
        str,
        Meta(
            description="One word for all deliveries, the first that applies: bounced, failed, suppressed, "
            "delivery_delayed, queued, canceled, delivered; `scheduled` until it is released."
        ),
    ]
    scheduled_at: Annotated[datetime | None, Meta(description="When it is, or was, to be sent; null: at once.")]
    held_at: Annotated[
        datetime | None,
        Meta(description="Ours: since when it waits for a person, because it was found long after its time."),
    ]
    broadcast_id: Annotated[UUID | None, Meta(description="Ours: the broadcast that it is a part of.")]
    tags: list[Tag]
    priority: Annotated[Lane, Meta(description="Ours.")]
    metadata: Annotated[dict[str, str], Meta(description="Ours.")]
    expires_at: Annotated[datetime | None, Meta(description="Ours.")]
    on_unknown: Annotated[OnUnknown, Meta(description="Ours.")]
    cancel_requested_at: Annotated[datetime | None, Meta(description="Ours.")]


class EmailFull(EmailShort, frozen=True, kw_only=True, rename={"from_": "from"}):
    """An email. A bulk email shows subject, html and text as they were rendered for it."""

    object: str = "email"
    status: Annotated[list[DeliveryStatus], Meta(description="Ours: every address with its own state.")]


class EmailList(msgspec.Struct, frozen=True, kw_only=True):
    """A page, newest first."""

    object: str = "list"
    has_more: bool
    data: list[EmailShort]


class TimelineEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened to one delivery.

    ``kind`` is ``accepted``, a kind of delivery event, ``opened`` or ``clicked``; of a scheduled email ``scheduled``,
    ``rescheduled``, ``held``, ``released`` (by a person) or ``canceled`` before, with the time that it then had in
    ``next_attempt_at``.
    """

    at: datetime
    kind: str
    delivery_id: UUID
    to: str | None
    attempt: int = 0
    reply: LastReply | None = None
    site: str | None = None
    duration: Annotated[float | None, Meta(description="Seconds.")] = None
    tls: Annotated[
        str | None, Meta(description="Version and cipher of the connection; null: in the clear, or none.")
    ] = None
    tls_policy: Annotated[
        str | None,
        Meta(
            description="The rule that its TLS had to keep: `dane`, `mta-sts` or `mta-sts testing` of the recipient's "
            "domain, `verify` or `required` of the mail or the site's row; null: opportunistic, and so is `mta-sts "
            "unavailable`: the domain has a policy, which could not be fetched."
        ),
    ] = None
    egress: Annotated[str | None, Meta(description="What it was sent from; null where no egress is named.")] = None
    reason: str | None = None
    next_attempt_at: datetime | None = None
    link: Annotated[str | None, Meta(description="Where a click led.")] = None
    user_agent: Annotated[str | None, Meta(description="Of an open or a click.")] = None
    flag: Annotated[
        Flag | None,
        Meta(
            description="Why an open or a click is perhaps not its reader's: `proxy` (fetched by a provider for its "
            "reader; it counts), `prefetch`, `bot`, `odd` (no browser asks like that), `quick` (within seconds of the "
            "delivery). Null: nothing says so."
        ),
    ] = None
    ip: Annotated[str | None, Meta(description="Only where this system keeps it.")] = None


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that happened to an email, oldest first."""

    object: str = "timeline"
    id: UUID
    trace_id: Annotated[
        str | None,
        Meta(description="Of the call that asked for it, as in all logs; null if an older version recorded the email."),
    ]
    data: list[TimelineEntry]


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """The scheduled email has its new time."""

    object: str = "email"
    id: UUID


class Canceled(msgspec.Struct, frozen=True, kw_only=True):
    """The email is withdrawn: no address of it that has no end yet will be tried any more."""

    object: str = "email"
    id: UUID
