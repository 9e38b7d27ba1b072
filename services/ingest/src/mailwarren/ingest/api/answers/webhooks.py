"""Answers of ``/v1/webhooks``."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from mailwarren.store.states import WebhookState, WebhookStatus

Secret = Annotated[str, Meta(description="`whsec_` and the key in base64.")]


class WebhookMade(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook was made, or has a new secret."""

    object: str = "webhook"
    id: UUID
    signing_secret: Secret


class WebhookShown(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook. Lists have no secrets."""

    object: str = "webhook"
    id: UUID
    created_at: datetime
    status: WebhookStatus
    endpoint: str
    events: list[str]
    signing_secret: Secret | None
    disabled_reason: Annotated[
        str | None, Meta(description="Ours: why it was disabled when nobody asked for it; null otherwise.")
    ]


class WebhookList(msgspec.Struct, frozen=True, kw_only=True):
    """A page, newest first."""

    object: str = "list"
    has_more: bool
    data: list[WebhookShown]


class WebhookNamed(msgspec.Struct, frozen=True, kw_only=True):
    """The webhook was changed."""

    object: str = "webhook"
    id: UUID


class WebhookDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The webhook is gone, and is told nothing more."""

    object: str = "webhook"
    id: UUID
    deleted: bool = True


class WebhookEventShort(msgspec.Struct, frozen=True, kw_only=True):
    """An event that a webhook was told of, or will be."""

    id: Annotated[UUID, Meta(description="What the request's header `webhook-id` says, on every try.")]
    type: str
    created_at: datetime
    status: WebhookState


class WebhookEventFull(WebhookEventShort, frozen=True, kw_only=True):
    """The same with its payload."""

    object: str = "webhook_event"
    next_attempt_at: datetime | None
    payload: Annotated[msgspec.Raw, Meta(description="The request's body.", extra_json_schema={"type": "object"})]


class WebhookEventList(msgspec.Struct, frozen=True, kw_only=True):
    """A page, newest first."""

    object: str = "list"
    has_more: bool
    data: list[WebhookEventShort]


class WebhookEventNamed(msgspec.Struct, frozen=True, kw_only=True):
    """The event will be told once more, with the same id."""

    object: str = "webhook_event"
    id: UUID


class WebhookTry(msgspec.Struct, frozen=True, kw_only=True):
    """One request."""

    id: UUID
    http_status_code: Annotated[int, Meta(description="0 when there was no answer.")]
    response: Annotated[str, Meta(description="The beginning of the answer, or why there was none.")]
    sent_at: datetime


class WebhookTryList(msgspec.Struct, frozen=True, kw_only=True):
    """A page, newest first."""

    object: str = "list"
    has_more: bool
    data: list[WebhookTry]
