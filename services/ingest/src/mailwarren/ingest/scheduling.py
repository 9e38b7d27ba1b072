"""The use case: emails with ``scheduled_at`` go into Postgres, all of a call in one transaction.

That it is committed is the yes. Room and suppression are looked at when they are released (:mod:`.release`).
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

import structlog

from mailwarren.ingest.adapters.database import DatabaseDown
from mailwarren.ingest.adapters.scheduled import Schedule
from mailwarren.ingest.domain.email import Numbered, SendEmail
from mailwarren.ingest.domain.scheduled import check_expiry
from mailwarren.ingest.domain.times import parse_scheduled_at
from mailwarren.ingest.metrics import record_scheduled

log = structlog.get_logger()

NOT_KEPT = (
    "The database did not confirm this scheduled mail: it may be kept or not. "
    "Repeat the call with the same Idempotency-Key, if it had one."
)


class Times:
    """The times that one call names, read by one clock: equal words are one moment."""

    def __init__(self) -> None:
        self._now = datetime.now(UTC)
        self._read: dict[str, datetime] = {}

    def check(self, email: SendEmail) -> None:
        """Read an email's time, if it has one.

        Raises:
            Refusal: 422.
        """
        if (said := email.scheduled_at) is not None:
            due = self._read.get(said) or self._read.setdefault(said, parse_scheduled_at(said, self._now))
            check_expiry(email.expires_at, due)

    def due(self, emails: Sequence[Numbered]) -> dict[int, datetime]:
        """When to send those of them that have a time, by their index."""
        return {n.index: self._read[n.email.scheduled_at] for n in emails if n.email.scheduled_at is not None}


async def keep(
    schedule: Schedule,
    tenant: UUID,
    base: UUID,
    emails: Sequence[Numbered],
    due: Mapping[int, datetime],
    *,
    bulk: bool,
    trace: str | None,
) -> dict[int, str]:
    """Keep the emails; all of them, with the reason, when the database does not have them for certain."""
    try:
        await schedule.store(tenant, base, [(one, due[one.index]) for one in emails], bulk=bulk, trace=trace)
    except DatabaseDown as error:
        log.warning("ingest.schedule.unwritten", error=str(error), base=str(base), emails=len(emails))
        return dict.fromkeys((one.index for one in emails), NOT_KEPT)
    record_scheduled(len(emails))
    return {}
