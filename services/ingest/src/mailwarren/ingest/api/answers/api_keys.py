"""Answers of ``/v1/api-keys``."""

from datetime import datetime
from uuid import UUID

import msgspec

from mailwarren.ingest.domain.requests import Permission


class KeyMade(msgspec.Struct, frozen=True, kw_only=True):
    """A new key; the token is shown this once."""

    id: UUID
    token: str


class KeyShown(msgspec.Struct, frozen=True, kw_only=True):
    """A key in a list. ``permission``, ``domains`` and ``prefix`` are ours."""

    id: UUID
    name: str
    created_at: datetime
    last_used_at: datetime | None
    permission: Permission
    domains: list[str] | None
    prefix: str


class KeyList(msgspec.Struct, frozen=True, kw_only=True):
    """A page, newest first."""

    object: str = "list"
    has_more: bool
    data: list[KeyShown]


class KeyChanged(msgspec.Struct, frozen=True, kw_only=True):
    """The key has its new name."""

    object: str = "api_key"
    id: UUID


class KeyDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The key is refused from now on."""

    object: str = "api_key"
    id: UUID
    deleted: bool = True
