"""``/v1/emails``: send one email, read emails, cancel one (DESIGN §4, stop 1)."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
import structlog
from msgspec.structs import replace

from mailwarren.contracts.ids import partition_of
from mailwarren.ingest.api.answers.emails import Canceled, EmailFull, EmailList, Sent, Timeline
from mailwarren.ingest.api.endpoint import Answer, Call, answer
from mailwarren.ingest.api.sending import check_topic, encoded, filled, keyed, yes
from mailwarren.ingest.api.shown import is_template, shown_delivery, shown_email, shown_in_list, timeline
from mailwarren.ingest.domain.cursor import parse_id, parse_page
from mailwarren.ingest.domain.decoding import decode
from mailwarren.ingest.domain.email import SendEmail
from mailwarren.ingest.domain.listing import FILTERS, asked_filter
from mailwarren.ingest.domain.refusal import invalid, invalid_parameter, not_found
from mailwarren.ingest.domain.requests import AttachmentBody, EmailBody
from mailwarren.ingest.domain.validation import validate_email
from mailwarren.ingest.submit import Acceptance, Answered, CallForm, Submission
from mailwarren.store.states import ENDS

log = structlog.get_logger()

BROADCAST = "broadcast_id"
"""A query parameter of the list."""


async def send(call: Call) -> Answer:
    """``POST /v1/emails``."""
    body = decode(call.body, EmailBody)
    if body.template is None:
        email = validate_email(body)
    else:
        email = await filled(call, body, body.template)
    if body.topic_id is not None:
        await check_topic(call, body.topic_id)
    claim = keyed(call, "/emails", files=bool(body.attachments))
    if body.attachments:
        # A repeat gets its answer although a file may be gone from where it was fetched.
        if claim is not None and (replayed := await call.services.submit.replayed(call.key, claim)):
            return yes(replayed)
        email = await _with_files(call, email, body.attachments)
    submission = Submission(call.key, CallForm.SINGLE, [(0, email)], keyed=claim, trace=call.trace)
    answered = await call.services.submit.submit(submission, _sent)
    # A line for each mail would cost as much CPU as all the rest of our work on it; so does making one nobody reads.
    if log.is_enabled_for(logging.DEBUG):
        log.debug(
            "ingest.email.answered",
            tenant=str(call.key.tenant),
            lane=email.lane.value,
            recipients=len(email.recipients),
            email_id=str(msgspec.json.decode(answered.body, type=Sent).id),
            replayed=answered.replayed,
        )
    return yes(answered)


async def _with_files(call: Call, email: SendEmail, files: Sequence[AttachmentBody]) -> SendEmail:
    if call.services.attacher is None:
        raise invalid("The `attachments` field cannot be used: this installation has no blob store.")
    call.key.check_sender(email.sender_domain)
    staged = await call.services.attacher.stage(files)
    return replace(email, content=replace(email.content, attachments=staged))


def _sent(acceptance: Acceptance) -> Answered:
    return encoded(Sent(acceptance.base), 200)


async def read(call: Call) -> Answer:
    """``GET /v1/emails/{id}``."""
    row = await found_email(call)
    deliveries = await call.services.reads.deliveries(call.key.tenant, row)
    if is_template(row):
        # Rendering may take ten milliseconds, and compiling a tenth of a second.
        async with call.services.aside:
            shown = await asyncio.to_thread(shown_email, row, deliveries)
    else:
        shown = shown_email(row, deliveries)
    return answer(EmailFull(**shown, status=[shown_delivery(item) for item in deliveries]))


async def read_list(call: Call) -> Answer:
    """``GET /v1/emails``."""
    query = call.query
    broadcast = query.pop(BROADCAST, None)
    page = parse_page(query, others=(BROADCAST, *FILTERS))
    chosen = asked_filter(call.query)
    rows: list[Any] | None
    if chosen is not None:
        rows = await call.services.listings.page(call.key.tenant, chosen, page)
    elif broadcast is not None:
        rows = await call.services.reads.of_broadcast(call.key.tenant, parse_id(broadcast, BROADCAST), page)
    else:
        rows = await call.services.reads.page(call.key.tenant, page)
    if rows is None:
        raise invalid_parameter("The cursor in `after` or `before` is not an email.")
    shown, more = page.cut(rows)
    return answer(EmailList(has_more=more, data=[shown_in_list(row) for row in shown]))


async def read_timeline(call: Call) -> Answer:
    """``GET /v1/emails/{id}/timeline``."""
    row = await found_email(call)
    deliveries = await call.services.reads.deliveries(call.key.tenant, row)
    events = await call.services.reads.events(call.key.tenant, row["id"])
    trace = row["trace_id"] and row["trace_id"].hex
    return answer(Timeline(id=UUID(str(row["id"])), trace_id=trace, data=timeline(row, deliveries, events)))


async def cancel(call: Call) -> Answer:
    """``POST /v1/emails/{id}/cancel``."""
    email_id, tenant = parse_id(call.path["id"]), call.key.tenant

    async def withdraw(base: UUID) -> None:
        await call.services.broker.publish_cancel(partition_of(base), email_id, tenant)

    if await call.services.schedule.cancel(tenant, email_id, withdraw):
        log.info("ingest.email.unscheduled", email_id=str(email_id), tenant=str(tenant))
        return answer(Canceled(id=email_id))
    row = await found_email(call)
    deliveries = await call.services.reads.deliveries(tenant, row)
    if deliveries and all(item["state"] in ENDS for item in deliveries):
        states = ", ".join(sorted({item["state"] for item in deliveries}))
        raise invalid(f"This email cannot be canceled any more: every delivery of it has ended ({states}).")
    await call.services.broker.publish_cancel(row["partition"], email_id, tenant)
    log.info("ingest.email.cancel_requested", email_id=str(email_id), tenant=str(tenant))
    return answer(Canceled(id=email_id))


async def found_email(call: Call) -> Any:
    """The row of the email that the path names.

    Raises:
        Refusal: 404, 422.
    """
    email_id = parse_id(call.path["id"])
    row = await call.services.reads.email(call.key.tenant, email_id)
    if row is None:
        raise not_found(f"There is no email with the id {email_id}.")
    return row
