"""Answers of ``/v1/contacts/imports``."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

Status = Literal["queued", "in_progress", "completed", "failed"]


class ImportMade(msgspec.Struct, frozen=True, kw_only=True):
    """The file is there and waits for a worker."""

    object: str = "contact_import"
    id: UUID


class ImportCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Rows so far. A row whose address came before is ``updated`` or ``skipped``, as ``on_conflict`` has it."""

    total: int
    created: int
    updated: int
    skipped: int
    failed: int


class ImportShown(msgspec.Struct, frozen=True, kw_only=True):
    """An import. ``filename``, ``on_conflict``, ``percent`` and ``error`` are ours."""

    object: str = "contact_import"
    id: UUID
    status: Annotated[Status, Meta(description="A canceled import is `failed`, and `error` says so.")]
    created_at: datetime
    completed_at: datetime | None
    counts: ImportCounts
    filename: str
    on_conflict: str
    percent: Annotated[float, Meta(description="Of the file that is worked off.")]
    error: Annotated[str | None, Meta(description="Why it failed as a whole; what was imported stays.")]


class ImportList(msgspec.Struct, frozen=True, kw_only=True):
    """A page, newest first."""

    object: str = "list"
    has_more: bool
    data: list[ImportShown]


class ColumnShown(msgspec.Struct, frozen=True, kw_only=True):
    """A column, and what it would be: `email`, `properties.plan`; null when it would not be imported."""

    name: str
    field: str | None


class RowShown(msgspec.Struct, frozen=True, kw_only=True):
    """A row, and why it would fail; null when it would not."""

    line: int
    cells: list[str]
    error: str | None


class ImportPreview(msgspec.Struct, frozen=True, kw_only=True):
    """What an import would make of the file."""

    object: str = "contact_import_preview"
    filename: str
    encoding: str
    delimiter: str
    columns: list[ColumnShown]
    rows: Annotated[list[RowShown], Meta(description="The first of them.")]
    error: Annotated[str | None, Meta(description="Why nothing could be imported like this.")]
