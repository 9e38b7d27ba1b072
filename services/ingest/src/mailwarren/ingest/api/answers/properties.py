"""Answers of ``/v1/contact-properties``."""

from datetime import datetime
from uuid import UUID

import msgspec

from mailwarren.ingest.domain.properties import Value
from mailwarren.store.states import PropertyType


class PropertyShown(msgspec.Struct, frozen=True, kw_only=True):
    """A property that contacts can have a value of."""

    object: str = "contact_property"
    id: UUID
    key: str
    type: PropertyType
    fallback_value: Value | None
    created_at: datetime


class PropertyList(msgspec.Struct, frozen=True, kw_only=True):
    """A page, newest first."""

    object: str = "list"
    has_more: bool
    data: list[PropertyShown]


class PropertyNamed(msgspec.Struct, frozen=True, kw_only=True):
    """The property was declared or changed."""

    object: str = "contact_property"
    id: UUID


class PropertyDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The property is gone, and with it every contact's value of it."""

    object: str = "contact_property"
    id: UUID
    deleted: bool = True
