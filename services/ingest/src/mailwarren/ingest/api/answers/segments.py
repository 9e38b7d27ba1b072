"""Answers of ``/v1/segments`` and of the older ``/v1/audiences``; ``object`` is the word of the path."""

from datetime import datetime
from uuid import UUID

import msgspec


class SegmentShown(msgspec.Struct, frozen=True, kw_only=True):
    """A segment."""

    object: str
    id: UUID
    name: str
    created_at: datetime


class SegmentShort(msgspec.Struct, frozen=True, kw_only=True):
    """A segment in a list."""

    id: UUID
    name: str
    created_at: datetime


class SegmentList(msgspec.Struct, frozen=True, kw_only=True):
    """A page, newest first."""

    object: str = "list"
    has_more: bool
    data: list[SegmentShort]


class SegmentMade(msgspec.Struct, frozen=True, kw_only=True):
    """The segment was made."""

    object: str
    id: UUID
    name: str


class SegmentChanged(msgspec.Struct, frozen=True, kw_only=True):
    """The segment has its new name."""

    object: str = "segment"
    id: UUID


class SegmentDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The segment is gone; its contacts are not."""

    object: str
    id: UUID
    deleted: bool = True
