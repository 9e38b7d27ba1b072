"""Segments: lists of contacts with a name. The older paths of the API call them audiences."""

from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

MAX_SEGMENTS = 1000
"""Of a tenant."""
MAX_NAME = 100


class SegmentBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``POST /v1/segments``, ``POST /v1/audiences``, ``PATCH /v1/segments/{id}``."""

    name: Annotated[str, Meta(description=f"1 to {MAX_NAME} characters.")]


class SegmentRef(msgspec.Struct, forbid_unknown_fields=True):
    """A segment, by its id."""

    id: UUID


class MembershipBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``POST /v1/contacts/{contact}/segments/{id}``: what the path says may be said again."""

    segment_id: UUID | None = None
    contact_id: UUID | None = None
    email: str | None = None
