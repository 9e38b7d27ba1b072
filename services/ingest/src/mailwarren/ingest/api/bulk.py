"""``POST /v1/emails/bulk`` (ours): one template for up to 10,000 recipients, an answer for each."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import msgspec
import structlog

from mailwarren.ingest.api.answers import BulkRow, BulkSent
from mailwarren.ingest.api.endpoint import Answer, Call
from mailwarren.ingest.api.sending import encoded, keyed, problems, yes
from mailwarren.ingest.domain.bulk import BulkMail, validate_bulk, validate_row
from mailwarren.ingest.domain.decoding import decode_bulk
from mailwarren.ingest.domain.email import RowError, SendEmail
from mailwarren.ingest.domain.refusal import Refusal
from mailwarren.ingest.submit import Answered, Kind, Outcome, Submission

log = structlog.get_logger()

SLICE = 100
"""Rows that are checked before other requests get their turn: 100 take about 5 ms."""


async def send(call: Call) -> Answer:
    """Wrong rows are errors of their place; the others are sent."""
    body = decode_bulk(call.body)
    mail = validate_bulk(body)
    emails, errors = await _validate(mail, body.recipients)
    submission = Submission(call.key, Kind.BULK, emails, errors, tolerant=True, keyed=keyed(call, "/emails/bulk"))
    answered = await call.services.submit.submit(submission, _sent)
    log.info(
        "ingest.bulk.answered",
        tenant=str(call.key.tenant),
        lane=mail.lane.value,
        recipients=len(body.recipients),
        invalid=len(errors),
        request=_id(answered),
        replayed=answered.replayed,
    )
    return yes(answered)


async def _validate(mail: BulkMail, rows: Sequence[msgspec.Raw]) -> tuple[list[tuple[int, SendEmail]], list[RowError]]:
    emails: list[tuple[int, SendEmail]] = []
    errors: list[RowError] = []
    for index, raw in enumerate(rows):
        try:
            emails.append((index, validate_row(mail, index, raw)))
        except Refusal as refusal:
            errors.append(RowError(index, refusal.message))
        if index % SLICE == SLICE - 1:
            await asyncio.sleep(0)
    return emails, errors


def _sent(outcome: Outcome) -> Answered:
    rows = [BulkRow(numbered.index, numbered.id, numbered.email.recipients[0].address) for numbered in outcome.accepted]
    return encoded(BulkSent(outcome.base, rows, problems(outcome.errors)), 202)


class _Id(msgspec.Struct):
    id: UUID


def _id(answered: Answered) -> str:
    return str(msgspec.json.decode(answered.body, type=_Id).id)
