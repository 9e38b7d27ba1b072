"""Answers of ``/v1/topics``."""

from datetime import datetime
from uuid import UUID

import msgspec

from mailwarren.store.states import Subscription, Visibility


class TopicShown(msgspec.Struct, frozen=True, kw_only=True):
    """A topic; the ``description`` may be empty."""

    object: str = "topic"
    id: UUID
    name: str
    description: str
    default_subscription: Subscription
    visibility: Visibility
    created_at: datetime


class TopicList(msgspec.Struct, frozen=True, kw_only=True):
    """A page, newest first."""

    object: str = "list"
    has_more: bool
    data: list[TopicShown]


class TopicNamed(msgspec.Struct, frozen=True, kw_only=True):
    """The topic was made or changed."""

    object: str = "topic"
    id: UUID


class TopicDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The topic is gone, and with it what contacts chose about it."""

    object: str = "topic"
    id: UUID
    deleted: bool = True
