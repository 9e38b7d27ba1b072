"""Answers of ``/v1/scheduled``."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from mailwarren.contracts.lanes import Lane
from mailwarren.store.states import ScheduleState


class Waiting(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """An email that waits for its time, or ``held`` for a person."""

    id: UUID
    state: ScheduleState
    scheduled_at: datetime
    held_at: Annotated[datetime | None, Meta(description="When it was found long after its time.")]
    created_at: datetime
    from_: str
    to: list[str]
    subject: str
    priority: Lane


class WaitingList(msgspec.Struct, frozen=True, kw_only=True):
    """A page, the next due first."""

    object: str = "list"
    has_more: bool
    data: list[Waiting]
