"""Answers of ``/v1/contacts``: contacts, their segments and their topics."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from mailwarren.ingest.domain.properties import Value
from mailwarren.store.states import PropertyType, Subscription


class PropertyValue(msgspec.Struct, frozen=True):
    """What is known about a contact."""

    value: Value
    type: PropertyType


class ContactShown(msgspec.Struct, frozen=True, kw_only=True):
    """A contact. ``properties`` are those that have a value, by their keys."""

    object: str = "contact"
    id: UUID
    email: Annotated[str, Meta(description="As it was given first.")]
    first_name: str | None
    last_name: str | None
    created_at: datetime
    unsubscribed: bool
    properties: dict[str, PropertyValue]


class ContactList(msgspec.Struct, frozen=True, kw_only=True):
    """A page, newest first."""

    object: str = "list"
    has_more: bool
    data: list[ContactShown]


class ContactNamed(msgspec.Struct, frozen=True, kw_only=True):
    """The contact was made or changed."""

    object: str = "contact"
    id: UUID


class ContactDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The contact is erased; on the older paths of an audience, taken out of it."""

    object: str = "contact"
    id: UUID
    contact: Annotated[UUID, Meta(description="The same id.")]
    deleted: bool = True


class Membership(msgspec.Struct, frozen=True, kw_only=True):
    """The contact is in the segment; ``id`` is the contact's."""

    id: UUID


class MembershipEnded(msgspec.Struct, frozen=True, kw_only=True):
    """The contact is not in the segment any more; ``id`` is the contact's."""

    id: UUID
    deleted: bool = True


class ContactTopic(msgspec.Struct, frozen=True, kw_only=True):
    """A topic with what holds for a contact: its choice, or the topic's default."""

    id: UUID
    name: str
    description: str
    subscription: Subscription


class ContactTopicList(msgspec.Struct, frozen=True, kw_only=True):
    """A page, newest first."""

    object: str = "list"
    has_more: bool
    data: list[ContactTopic]


class ContactTopicsChanged(msgspec.Struct, frozen=True, kw_only=True):
    """The choices are noted; ``id`` is the contact's."""

    id: UUID
