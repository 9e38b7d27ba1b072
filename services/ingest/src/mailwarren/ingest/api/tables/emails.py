"""The endpoints of ``/v1/emails``."""

from typing import Any

from mailwarren.ingest.api import batch, bulk, emails, explaining
from mailwarren.ingest.api.answers.emails import BatchSent, BulkSent, Canceled, EmailFull, EmailList, Sent, Timeline
from mailwarren.ingest.api.answers.operating import Explained
from mailwarren.ingest.api.endpoint import PAGE, READING, Endpoint
from mailwarren.ingest.domain.listing import FILTERS
from mailwarren.ingest.domain.requests import BulkBody, EmailBody, Permission

_SENDING: dict[str, Any] = {
    "method": "POST",
    "permission": Permission.SENDING,
    "errors": (400, 401, 403, 408, 409, 413, 422, 503),
}

ENDPOINTS = (
    Endpoint(
        "send",
        path="/v1/emails",
        summary="Send an email",
        handler=emails.send,
        request=EmailBody,
        files=True,
        answer=Sent,
        headers=("Idempotency-Key",),
        description=(
            "200 means that the message broker has the mail durably (the database, with `scheduled_at`). A 503 "
            "or a broken connection leaves the outcome "
            "unknown: repeat the call with the same Idempotency-Key and no second mail is made. Each address of `to`, "
            "`cc` and `bcc` is one delivery; addresses on the suppression list are accepted and not sent. With "
            "attachments, 503 also when the blob store or the database is away."
        ),
        **_SENDING,
    ),
    Endpoint(
        "send_batch",
        path="/v1/emails/batch",
        summary="Send up to 100 emails",
        handler=batch.send,
        request=list[EmailBody],
        answer=BatchSent,
        headers=("Idempotency-Key", "x-batch-validation"),
        description=(
            "`x-batch-validation: strict` (the default): one email that cannot be sent refuses the batch, nothing is "
            "sent. `permissive`: it is named in `errors` and the others are sent. A strict answer has `errors` only "
            "when the broker confirmed some emails and not others; when it confirmed none the answer is 503."
        ),
        **_SENDING,
    ),
    Endpoint(
        "send_bulk",
        path="/v1/emails/bulk",
        summary="Send one template to up to 10,000 recipients",
        handler=bulk.send,
        request=BulkBody,
        answer=BulkSent,
        status=202,
        headers=("Idempotency-Key",),
        description=(
            "Ours. Every row is an email of its own that only its recipient sees. Rows that cannot be sent are named "
            "in `errors`; 503 when no row was accepted for want of room or of the broker's confirm."
        ),
        **_SENDING,
    ),
    Endpoint(
        "list_emails",
        path="/v1/emails",
        summary="List emails, newest first",
        handler=emails.read_list,
        answer=EmailList,
        query=("broadcast_id", *FILTERS, *PAGE),
        description=(
            "By `to`, `state` or `tag` (ours, one of them) only what is in the ledger, in the order in which it was "
            "accepted: `/v1/scheduled` has what waits for its time."
        ),
        **READING,
    ),
    Endpoint(
        "read_email",
        path="/v1/emails/{id}",
        summary="Read an email",
        handler=emails.read,
        answer=EmailFull,
        description="An email that was just sent is waited for up to 2 seconds.",
        **READING,
    ),
    Endpoint(
        "read_timeline",
        path="/v1/emails/{id}/timeline",
        summary="Everything that happened to an email",
        handler=emails.read_timeline,
        answer=Timeline,
        description="Ours: acceptance, every attempt with the server's reply, and the end of each delivery.",
        **READING,
    ),
    Endpoint(
        "explain_email",
        path="/v1/emails/{id}/explain",
        summary="Why an email has not been sent",
        handler=explaining.read,
        answer=Explained,
        description=(
            "Ours: for each delivery what it waits for, its queue, site, limits in force, last reply and next attempt, "
            "and a sentence for a person."
        ),
        **READING,
    ),
    Endpoint(
        "cancel_email",
        method="POST",
        path="/v1/emails/{id}/cancel",
        summary="Cancel an email",
        handler=emails.cancel,
        answer=Canceled,
        description=(
            "A scheduled email is not sent. Of any other, what has no end yet is not tried any more. 422 when every "
            "delivery has ended. A delivery that a sender is "
            "working on at this moment may still be sent; its `state` says what became of it."
        ),
        errors=(401, 403, 404, 422, 503),
    ),
)
