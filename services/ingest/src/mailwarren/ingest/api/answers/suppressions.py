"""Answers of ``/v1/suppressions``."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from mailwarren.ingest.domain.suppression_csv import BadRow
from mailwarren.ingest.domain.suppressions import Scope
from mailwarren.store.states import Origin


class SuppressionListed(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the list."""

    id: UUID
    email: Annotated[str, Meta(description="A to Z in lower case.")]
    origin: Annotated[Origin, Meta(description="`manual` is all that people decided; see `reason`.")]
    source_id: Annotated[
        UUID | None, Meta(description="The email that bounced, or the call or broadcast whose link was followed.")
    ]
    created_at: datetime
    scope: Annotated[Scope, Meta(description="Ours: what the address gets none of.")]
    topic_id: Annotated[UUID | None, Meta(description="Ours: of the scope `topic`.")]
    reason: Annotated[
        str,
        Meta(description="Ours: a bounce class, or `manual`, `import`, `unsubscribe` (a link), `contact` (the API)."),
    ]
    expires_at: Annotated[datetime | None, Meta(description="Ours: when it ends, if ever.")]


class SuppressionShown(SuppressionListed, frozen=True, kw_only=True):
    """An entry by itself."""

    object: str = "suppression"


class SuppressionList(msgspec.Struct, frozen=True, kw_only=True):
    """A page, newest first."""

    object: str = "list"
    has_more: bool
    data: list[SuppressionListed]


class SuppressionNamed(msgspec.Struct, frozen=True, kw_only=True):
    """The address is on the list, now or already."""

    object: str = "suppression"
    id: UUID


class SuppressionRemoved(msgspec.Struct, frozen=True, kw_only=True):
    """The address is not on the list any more."""

    object: str = "suppression"
    id: UUID
    deleted: bool = True


class SuppressionsAdded(msgspec.Struct, frozen=True, kw_only=True):
    """An address that was given twice stands here once."""

    data: list[SuppressionNamed]


class SuppressionsRemoved(msgspec.Struct, frozen=True, kw_only=True):
    """Those that were on the list."""

    data: list[SuppressionRemoved]


class SuppressionsImported(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a file. ``errors`` are the first of the rows that were left out."""

    object: str = "suppression_import"
    rows: Annotated[int, Meta(description="Addresses that are on the list now; one that stands twice counts twice.")]
    expired: Annotated[int, Meta(description="Rows whose `expires_at` is over: they were left out.")]
    invalid: Annotated[int, Meta(description="Rows that were left out.")]
    ignored: Annotated[list[str], Meta(description="Columns that have no meaning here.")]
    errors: list[BadRow]
