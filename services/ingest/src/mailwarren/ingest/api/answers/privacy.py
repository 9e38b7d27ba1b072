"""Answers of ``/v1/privacy``."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from mailwarren.store.states import PrivacyKind, PrivacyState


class PrivacyRequestMade(msgspec.Struct, frozen=True, kw_only=True):
    """It waits for a worker; or the one that is under way for this address."""

    object: str = "privacy_request"
    id: UUID


class PrivacyRequestShown(msgspec.Struct, frozen=True, kw_only=True):
    """An export or an erasure."""

    object: str = "privacy_request"
    id: UUID
    type: PrivacyKind
    status: PrivacyState
    email: Annotated[str | None, Meta(description="Null once it is erased.")]
    stage: Annotated[str | None, Meta(description="What is being done; null at the end.")]
    percent: Annotated[float, Meta(description="Of the stages.")]
    counts: Annotated[dict[str, int], Meta(description="By stage: records found, or changed and deleted.")]
    size: Annotated[int, Meta(description="Bytes of the export, about; 0 when there is none any more.")]
    error: str | None
    created_at: datetime
    completed_at: datetime | None


class PrivacyRequestList(msgspec.Struct, frozen=True, kw_only=True):
    """A page, newest first."""

    object: str = "list"
    has_more: bool
    data: list[PrivacyRequestShown]


class PrivacyRequestDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The request, and the file of an export."""

    object: str = "privacy_request"
    id: UUID
    deleted: bool = True


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the address had been erased; it gets mail again."""

    object: str = "privacy_admission"
    email: str
    admitted: bool
