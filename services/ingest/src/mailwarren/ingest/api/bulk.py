"""``POST /v1/emails/bulk`` (ours): one template for up to 10,000 recipients, an answer for each."""

import asyncio
import time
from collections.abc import Sequence
from uuid import UUID

import msgspec
import structlog

from mailwarren.contracts.lanes import Lane
from mailwarren.ingest.api.answers.emails import BulkRow, BulkSent
from mailwarren.ingest.api.endpoint import Answer, Call
from mailwarren.ingest.api.sending import check_topic, encoded, keyed, problems, published, yes
from mailwarren.ingest.domain.bulk import BulkMail, validate_bulk, validate_row
from mailwarren.ingest.domain.decoding import decode_bulk
from mailwarren.ingest.domain.email import RowError, SendEmail
from mailwarren.ingest.domain.list_mail import check_link
from mailwarren.ingest.domain.refusal import Refusal
from mailwarren.ingest.submit import Acceptance, Answered, CallForm, Submission

log = structlog.get_logger()

TURN = 0.005
"""Seconds for which rows are checked before other requests get their turn. A row takes some 40 µs, one with a heavy
subject up to some milliseconds."""


async def send(call: Call) -> Answer:
    """Wrong rows are errors of their place; the others are sent."""
    async with call.services.aside:
        body = await asyncio.to_thread(decode_bulk, call.body)
    version = await published(call, body.template) if body.template else None
    async with call.services.aside:
        # Templates are compiled here, which may take a tenth of a second for each.
        mail = await asyncio.to_thread(validate_bulk, body, version)
    if mail.shows_link:
        check_link(listed=mail.lane is Lane.BULK or mail.topic is not None, made=call.services.unsubscribe.made)
    if mail.topic is not None:
        await check_topic(call, mail.topic)
    rows = body.recipients
    emails, errors = await validate_rows(mail, rows)
    submission = Submission(
        call.key, CallForm.BULK, emails, errors, tolerant=True, keyed=keyed(call, "/emails/bulk"), trace=call.trace
    )
    answered = await call.services.submit.submit(submission, _sent)
    log.info(
        "ingest.bulk.answered",
        tenant=str(call.key.tenant),
        lane=mail.lane.value,
        recipients=len(rows),
        invalid=len(errors),
        request=_id(answered),
        replayed=answered.replayed,
    )
    return yes(answered)


async def validate_rows(
    mail: BulkMail, rows: Sequence[msgspec.Raw]
) -> tuple[list[tuple[int, SendEmail]], list[RowError]]:
    """The rows that are right, and what is wrong with the others; other work of the loop goes on meanwhile."""
    emails: list[tuple[int, SendEmail]] = []
    errors: list[RowError] = []
    until = time.monotonic() + TURN
    for index, raw in enumerate(rows):
        try:
            emails.append((index, validate_row(mail, index, raw)))
        except Refusal as refusal:
            errors.append(RowError(index, refusal.message))
        if time.monotonic() > until:
            await asyncio.sleep(0)
            until = time.monotonic() + TURN
    return emails, errors


def _sent(acceptance: Acceptance) -> Answered:
    rows = [
        BulkRow(numbered.index, numbered.id, numbered.email.recipients[0].address) for numbered in acceptance.accepted
    ]
    return encoded(BulkSent(acceptance.base, rows, problems(acceptance.errors)), 202)


class _Id(msgspec.Struct):
    id: UUID


def _id(answered: Answered) -> str:
    return str(msgspec.json.decode(answered.body, type=_Id).id)
