"""Answers about the files of an email."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta


class AttachmentShown(msgspec.Struct, frozen=True, kw_only=True):
    """A file of an email. ``download_url`` needs no API key and holds until ``expires_at``."""

    id: UUID
    filename: str
    content_type: str
    content_id: str | msgspec.UnsetType = msgspec.UNSET
    content_disposition: Literal["inline", "attachment"]
    size: Annotated[int, Meta(description="Bytes.")]
    download_url: str
    expires_at: datetime


class AttachmentFull(AttachmentShown, frozen=True, kw_only=True):
    """The same, asked for alone."""

    object: str = "attachment"


class AttachmentList(msgspec.Struct, frozen=True, kw_only=True):
    """The files of an email in their order."""

    object: str = "list"
    has_more: bool
    data: list[AttachmentShown]


class AttachmentDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The email has this file no more."""

    object: str = "attachment"
    id: UUID
    deleted: bool = True
