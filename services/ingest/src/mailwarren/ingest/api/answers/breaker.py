"""Answers of ``/v1/breaker``."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from mailwarren.store.states import BreakerState


class PauseShown(msgspec.Struct, frozen=True, kw_only=True):
    """Why bulk mail waits."""

    override_id: Annotated[UUID, Meta(description="As in `/v1/shaping`.")]
    since: datetime
    until: Annotated[datetime, Meta(description="It is renewed until a person resumes the mail.")]
    cause: str
    sample: Annotated[str, Meta(description="What was counted when it began.")]


class BreakerShown(msgspec.Struct, frozen=True, kw_only=True):
    """The part of your mail that bounces or draws complaints, and what follows from it."""

    object: str = "breaker"
    state: BreakerState
    since: Annotated[datetime | None, Meta(description="Null when it was never anything but fine.")]
    window_hours: int
    decided: Annotated[int, Meta(description="Mails of these hours that were delivered or bounced.")]
    bounced: int
    complained: int
    rate: Annotated[float, Meta(description="Bounces and complaints, as a percentage of the decided.")]
    pauses: Annotated[list[PauseShown], Meta(description="What holds your bulk mail now.")]
    ended_at: Annotated[datetime | None, Meta(description="When a person ended the last pause.")]
    ended_by: str | None


class BreakerResumed(msgspec.Struct, frozen=True, kw_only=True):
    """Pauses that were ended."""

    object: str = "breaker"
    resumed: list[UUID]
