"""Answers of ``/v1/logs``."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta


class LogShort(msgspec.Struct, frozen=True, kw_only=True):
    """A call of the API, in a list."""

    id: UUID
    created_at: datetime
    endpoint: Annotated[str, Meta(description="The path, without `/v1`.")]
    method: str
    response_status: int
    user_agent: str


class LogFull(LogShort, frozen=True, kw_only=True):
    """The same with its bodies: without secrets, contents, names and values, and of addresses only a letter."""

    object: str = "log"
    request_body: Any
    response_body: Any


class LogList(msgspec.Struct, frozen=True, kw_only=True):
    """A page."""

    object: str = "list"
    has_more: bool
    data: list[LogShort]
