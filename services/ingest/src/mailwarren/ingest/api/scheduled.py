"""Emails that wait for their time: moved, let go, listed; :mod:`.emails` cancels them."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog

from mailwarren.ingest.api.answers.emails import Changed
from mailwarren.ingest.api.answers.scheduled import Waiting, WaitingList
from mailwarren.ingest.api.endpoint import Answer, Call, answer
from mailwarren.ingest.api.shown import shown_in_list
from mailwarren.ingest.domain.cursor import parse_id, parse_page
from mailwarren.ingest.domain.decoding import decode
from mailwarren.ingest.domain.refusal import invalid, invalid_parameter, not_found
from mailwarren.ingest.domain.requests import EmailChange
from mailwarren.ingest.domain.times import parse_scheduled_at
from mailwarren.store.states import ScheduleState

log = structlog.get_logger()

OPEN = (ScheduleState.SCHEDULED, ScheduleState.HELD)


async def update(call: Call) -> Answer:
    """``PATCH /v1/emails/{id}``: another time."""
    email_id = parse_id(call.path["id"])
    body = decode(call.body, EmailChange)
    if body.id is not None and parse_id(body.id) != email_id:
        raise invalid("Invalid `id` field: it is not the id of the path.")
    due = parse_scheduled_at(body.scheduled_at, datetime.now(UTC))
    if not await call.services.schedule.reschedule(call.key.tenant, email_id, due):
        raise await _not_scheduled(call, email_id, "rescheduled")
    log.info("ingest.email.rescheduled", email_id=str(email_id), tenant=str(call.key.tenant))
    return answer(Changed(id=email_id))


async def release(call: Call) -> Answer:
    """``POST /v1/emails/{id}/release``: a held one is sent now."""
    email_id = parse_id(call.path["id"])
    if not await call.services.schedule.release(call.key.tenant, email_id):
        raise await _not_scheduled(call, email_id, "released")
    log.info("ingest.email.released", email_id=str(email_id), tenant=str(call.key.tenant))
    return answer(Changed(id=email_id))


async def read_list(call: Call) -> Answer:
    """``GET /v1/scheduled``."""
    query = call.query
    said = query.pop("state", None)
    if said not in {None, *OPEN}:
        raise invalid_parameter("The `state` parameter is `scheduled` or `held`.")
    page = parse_page(query)
    rows = await call.services.schedule.open(call.key.tenant, page, ScheduleState(said) if said else None)
    if rows is None:
        raise invalid_parameter("The cursor in `after` or `before` is not a scheduled email.")
    shown, more = page.cut(rows)
    return answer(WaitingList(has_more=more, data=[_shown(row) for row in shown]))


def _shown(row: dict[str, Any]) -> Waiting:
    email = shown_in_list(row)
    return Waiting(
        id=email.id,
        state=ScheduleState.HELD if email.held_at else ScheduleState.SCHEDULED,
        scheduled_at=row["scheduled_at"],
        held_at=email.held_at,
        created_at=email.created_at,
        from_=email.from_,
        to=email.to,
        subject=email.subject,
        priority=email.priority,
    )


async def _not_scheduled(call: Call, email_id: UUID, what: str) -> Exception:
    if await call.services.reads.email(call.key.tenant, email_id) is None:
        return not_found(f"There is no email with the id {email_id}.")
    return invalid(f"This email cannot be {what}: it was not scheduled.")
