"""Answers of ``/v1/broadcasts``."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from mailwarren.contracts.lanes import Lane
from mailwarren.store.states import BroadcastState, State


class BroadcastNamed(msgspec.Struct, frozen=True, kw_only=True):
    """A broadcast was made, changed, sent, paused, resumed, canceled or copied: its id."""

    object: str = "broadcast"
    id: UUID


class BroadcastDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The broadcast is gone."""

    object: str = "broadcast"
    id: UUID
    deleted: bool = True


class BroadcastShown(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """A broadcast. In a list ``html`` and ``text`` are null: read the broadcast for them."""

    object: str = "broadcast"
    id: UUID
    name: str
    segment_id: UUID
    audience_id: Annotated[UUID, Meta(description="The older name of `segment_id`.")]
    topic_id: UUID | None
    from_: Annotated[str, Meta(description="Empty: the template's.")]
    subject: Annotated[str, Meta(description="Empty: the template's.")]
    reply_to: list[str]
    preview_text: str
    html: str | None = None
    text: str | None = None
    status: BroadcastState
    created_at: datetime
    scheduled_at: Annotated[datetime | None, Meta(description="When it is, or was, to be sent; null for a draft.")]
    sent_at: Annotated[datetime | None, Meta(description="When all of its mails were accepted by the broker.")]
    template: Annotated[Any, Meta(description="Ours: the template that it is made from, or null.")]
    priority: Annotated[Lane, Meta(description="Ours.")]
    resend_of: Annotated[UUID | None, Meta(description="Ours: the broadcast whose failed mails this one repeats.")]
    trouble: Annotated[str | None, Meta(description="Ours: why it waits, when it does.")]


class BroadcastList(msgspec.Struct, frozen=True, kw_only=True):
    """A page, newest first."""

    object: str = "list"
    has_more: bool
    data: list[BroadcastShown]


class AudienceShown(msgspec.Struct, frozen=True, kw_only=True):
    """The segment when the sending began: its members, and those who are left out, each for one reason."""

    members: int
    unsubscribed: int
    opted_out: Annotated[int, Meta(description="Of the topic.")]
    suppressed: int
    recipients: int


class BroadcastStats(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a broadcast (ours)."""

    object: str = "broadcast_stats"
    id: UUID
    status: BroadcastState
    audience: Annotated[AudienceShown | None, Meta(description="Null until a worker has counted.")]
    published: Annotated[int, Meta(description="Recipients whose mail the broker has accepted.")]
    progress: Annotated[float | None, Meta(description="`published` of `audience.recipients`, 0 to 1.")]
    recipients: Annotated[int, Meta(description="Deliveries in the ledger: the sum of `states`.")]
    queued: Annotated[int, Meta(description="Without an end: accepted, deferred, parked, unconfirmed.")]
    delivered: int
    bounced: int
    failed: Annotated[int, Meta(description="Failed or expired.")]
    suppressed: int
    canceled: int
    states: Annotated[dict[str, int], Meta(description=f"Deliveries by state: {', '.join(sorted(State))}.")]
    scheduled_at: datetime | None
    started_at: datetime | None
    ended_at: Annotated[datetime | None, Meta(description="When the last was published, or it was canceled.")]
    trouble: str | None


class RecipientLink(msgspec.Struct, frozen=True):
    """A link that a recipient clicked."""

    url: str
    clicks: int


class BroadcastRecipient(msgspec.Struct, frozen=True, kw_only=True):
    """A recipient of a broadcast. ``contact_id`` is null when the contact was deleted."""

    id: Annotated[UUID, Meta(description="Of the delivery: the cursor of this list.")]
    contact_id: UUID | None
    email: str
    count: Annotated[
        int | msgspec.UnsetType,
        Meta(description="Of `opened` and `clicked`: how often, as far as it counts as the reader's."),
    ] = msgspec.UNSET
    clicked_links: Annotated[
        list[RecipientLink] | msgspec.UnsetType, Meta(description="Of `clicked`: most clicked first.")
    ] = msgspec.UNSET
    bounce_type: Literal["permanent", "transient", "undetermined"] | msgspec.UnsetType = msgspec.UNSET


class BroadcastRecipients(msgspec.Struct, frozen=True, kw_only=True):
    """A page, in an order of its own."""

    object: str = "list"
    has_more: bool
    data: list[BroadcastRecipient]


class ClickedLink(msgspec.Struct, frozen=True, kw_only=True):
    """A link of a broadcast that was clicked. ``clicks`` are those that count as a reader's."""

    id: Annotated[UUID, Meta(description="The cursor of this list, and nothing else.")]
    url: str
    clicks: int
    unique_clicks: Annotated[int, Meta(description="Recipients who clicked it.")]


class ClickedLinks(msgspec.Struct, frozen=True, kw_only=True):
    """A page, most clicked first."""

    object: str = "list"
    has_more: bool
    data: list[ClickedLink]


class BroadcastPreview(msgspec.Struct, frozen=True, kw_only=True):
    """What the mail to a contact would say (ours)."""

    object: str = "broadcast_preview"
    id: UUID
    subject: str | None
    html: str
    text: str | None


class BroadcastTested(msgspec.Struct, frozen=True, kw_only=True):
    """The emails of a test send (ours)."""

    object: str = "broadcast_test"
    id: UUID
    emails: list[UUID]
