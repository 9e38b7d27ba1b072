"""``POST /v1/emails/batch``: up to 100 emails in a call, all or each for itself."""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus

import msgspec
import structlog

from mailwarren.contracts.template import MAX_WORK
from mailwarren.ingest.api.answers.emails import BatchSent, Sent
from mailwarren.ingest.api.endpoint import Answer, Call
from mailwarren.ingest.api.sending import check_topic, encoded, filled, keyed, problems, yes
from mailwarren.ingest.domain.decoding import decode, decode_batch
from mailwarren.ingest.domain.email import RowError, SendEmail
from mailwarren.ingest.domain.refusal import Refusal, invalid, missing
from mailwarren.ingest.domain.requests import EmailBody
from mailwarren.ingest.domain.validation import validate_email
from mailwarren.ingest.submit import Acceptance, Answered, CallForm, Submission

log = structlog.get_logger()

MAX_EMAILS = 100
LARGE = 100_000
"""Bytes."""
SUBJECTS_WORK = 500_000_000
"""Units of template work (about half a second) that the subjects of one batch may take together."""
VALIDATION = "x-batch-validation"
STRICT, PERMISSIVE = "strict", "permissive"


async def send(call: Call) -> Answer:
    """Strict (the default): one wrong email refuses the batch. Permissive: it is an error of its place."""
    mode = call.header(VALIDATION) or STRICT
    if mode not in {STRICT, PERMISSIVE}:
        raise invalid(f"Invalid `{VALIDATION}` header: it is `{STRICT}` or `{PERMISSIVE}`.")
    # Reading a large body in which a row is wrong may take a while: beside everybody else's requests then.
    rows = await asyncio.to_thread(decode_batch, call.body) if len(call.body) > LARGE else decode_batch(call.body)
    if not rows:
        raise missing("Missing emails: the body is a list with at least one email.")
    if len(rows) > MAX_EMAILS:
        raise invalid(f"Too many emails: {len(rows)}, {MAX_EMAILS} are possible in one batch.")
    emails, errors = await _validate(call, rows, tolerant=mode == PERMISSIVE)
    submission = Submission(
        call.key,
        CallForm.BATCH,
        emails,
        errors,
        tolerant=mode == PERMISSIVE,
        keyed=keyed(call, "/emails/batch", mode),
        trace=call.trace,
    )

    def sent(acceptance: Acceptance) -> Answered:
        found = problems(acceptance.errors)
        shown = found if found or mode == PERMISSIVE else msgspec.UNSET
        return encoded(BatchSent([Sent(numbered.id) for numbered in acceptance.accepted], shown), 200)

    answered = await call.services.submit.submit(submission, sent)
    log.info(
        "ingest.batch.answered",
        tenant=str(call.key.tenant),
        emails=len(rows),
        ids=[str(sent.id) for sent in msgspec.json.decode(answered.body, type=_Accepted).data],
        replayed=answered.replayed,
    )
    return yes(answered)


async def _validate(
    call: Call, rows: Sequence[msgspec.Raw], *, tolerant: bool
) -> tuple[list[tuple[int, SendEmail]], list[RowError]]:
    emails: list[tuple[int, SendEmail]] = []
    errors: list[RowError] = []
    work = min(MAX_WORK, SUBJECTS_WORK // len(rows))
    for index, raw in enumerate(rows):
        try:
            body = decode(raw, EmailBody, what="The email")
            if body.attachments:
                raise invalid("The `attachments` field is not possible in a batch. Send this email by POST /v1/emails.")
            if body.topic_id is not None:
                await check_topic(call, body.topic_id)
            if body.template is None:
                emails.append((index, validate_email(body)))
            else:
                emails.append((index, await filled(call, body, body.template, work)))
                await asyncio.sleep(0)  # a subject may take some milliseconds, and others wait
        except Refusal as refusal:
            # A template that cannot be read now makes no row wrong, and a keyed answer would say so for 24 hours.
            if not tolerant or refusal.status == HTTPStatus.SERVICE_UNAVAILABLE:
                raise refusal.about(f"Nothing was sent; email {index} of the batch") from refusal
            errors.append(RowError(index, refusal.message))
    return emails, errors


class _Accepted(msgspec.Struct):
    data: list[Sent]
