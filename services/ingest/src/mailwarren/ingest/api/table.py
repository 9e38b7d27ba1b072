"""The endpoints, in one table: the router and the OpenAPI document are made from it."""

from typing import Any

from mailwarren.ingest.api import api_keys, batch, bulk, dead, emails, explaining, queues, shaping
from mailwarren.ingest.api.answers import (
    BatchSent,
    BulkSent,
    Canceled,
    EmailFull,
    EmailList,
    KeyChanged,
    KeyDeleted,
    KeyList,
    KeyMade,
    Sent,
    Timeline,
)
from mailwarren.ingest.api.endpoint import Endpoint
from mailwarren.ingest.api.operating import (
    DeadFull,
    DeadList,
    Explained,
    OverrideGone,
    OverrideShown,
    QueueList,
    Replayed,
    SenderList,
    ShapingList,
)
from mailwarren.ingest.domain.requests import (
    ApiKeyBody,
    ApiKeyChange,
    BulkBody,
    EmailBody,
    Permission,
    ReplayBody,
    ShapingBody,
)

PAGE = ("limit", "after", "before")
_SENDING: dict[str, Any] = {
    "method": "POST",
    "permission": Permission.SENDING,
    "errors": (400, 401, 403, 409, 413, 422, 503),
}
_READING: dict[str, Any] = {"method": "GET", "errors": (401, 403, 404, 422, 503)}
_OPERATING: dict[str, Any] = {"method": "GET", "errors": (401, 403, 422, 503)}

ENDPOINTS = (
    Endpoint(
        "send",
        path="/v1/emails",
        summary="Send an email",
        handler=emails.send,
        request=EmailBody,
        answer=Sent,
        headers=("Idempotency-Key",),
        description=(
            "200 means that the message broker has the mail durably. A 503 or a broken connection leaves the outcome "
            "unknown: repeat the call with the same Idempotency-Key and no second mail is made. Each address of `to`, "
            "`cc` and `bcc` is one delivery; addresses on the suppression list are accepted and not sent."
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
        query=PAGE,
        **_READING,
    ),
    Endpoint(
        "read_email",
        path="/v1/emails/{id}",
        summary="Read an email",
        handler=emails.read,
        answer=EmailFull,
        description="An email that was just sent is waited for up to 2 seconds.",
        **_READING,
    ),
    Endpoint(
        "read_timeline",
        path="/v1/emails/{id}/timeline",
        summary="Everything that happened to an email",
        handler=emails.read_timeline,
        answer=Timeline,
        description="Ours: acceptance, every attempt with the server's reply, and the end of each delivery.",
        **_READING,
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
        **_READING,
    ),
    Endpoint(
        "update_email",
        method="PATCH",
        path="/v1/emails/{id}",
        summary="Change when an email is sent: not supported yet",
        handler=emails.update,
        answer=None,
        description="Always refused with an error that says so: this version schedules nothing.",
        errors=(401, 403, 404, 422, 503),
    ),
    Endpoint(
        "cancel_email",
        method="POST",
        path="/v1/emails/{id}/cancel",
        summary="Cancel an email",
        handler=emails.cancel,
        answer=Canceled,
        description=(
            "What has no end yet is not tried any more. 422 when every delivery has ended. A delivery that a sender is "
            "working on at this moment may still be sent; its `state` says what became of it."
        ),
        errors=(401, 403, 404, 422, 503),
    ),
    Endpoint(
        "create_key",
        method="POST",
        path="/v1/api-keys",
        summary="Make an API key",
        handler=api_keys.create,
        request=ApiKeyBody,
        answer=KeyMade,
        status=201,
        description="The token is shown this once. A `sending_access` key can only send.",
        errors=(400, 401, 403, 422, 503),
    ),
    Endpoint(
        "list_keys",
        path="/v1/api-keys",
        summary="List API keys, newest first",
        handler=api_keys.read_list,
        answer=KeyList,
        query=PAGE,
        **_READING,
    ),
    Endpoint(
        "rename_key",
        method="PATCH",
        path="/v1/api-keys/{id}",
        summary="Rename an API key",
        handler=api_keys.rename,
        request=ApiKeyChange,
        answer=KeyChanged,
        errors=(400, 401, 403, 404, 422, 503),
    ),
    Endpoint(
        "delete_key",
        method="DELETE",
        path="/v1/api-keys/{id}",
        summary="Delete an API key",
        handler=api_keys.delete,
        answer=KeyDeleted,
        description="Refused here at once, by every process within 2 seconds.",
        errors=(401, 403, 404, 422, 503),
    ),
    Endpoint(
        "list_shaping",
        path="/v1/shaping",
        summary="Who is slowed down and why",
        handler=shaping.read_list,
        answer=ShapingList,
        query=(*PAGE, "past"),
        description=(
            "Ours: suspensions and limits of sites and tenants with their causes; the sites as senders tell of them."
        ),
        **_OPERATING,
    ),
    Endpoint(
        "create_shaping",
        method="POST",
        path="/v1/shaping",
        summary="Suspend or limit a site or a tenant",
        handler=shaping.create,
        request=ShapingBody,
        answer=OverrideShown,
        status=201,
        description="Ours: every sender obeys within 2 seconds. Mail that waits for it costs no attempt.",
        errors=(400, 401, 403, 422, 503),
    ),
    Endpoint(
        "delete_shaping",
        method="DELETE",
        path="/v1/shaping/{id}",
        summary="End an override",
        handler=shaping.delete,
        answer=OverrideGone,
        description="Ours: whatever its cause. 422 when it has ended already.",
        errors=(401, 403, 404, 422, 503),
    ),
    Endpoint(
        "list_queues",
        path="/v1/queues",
        summary="What waits where",
        handler=queues.read_queues,
        answer=QueueList,
        description="Ours: the queues that mail and orders go through, as the broker has them now.",
        **_OPERATING,
    ),
    Endpoint(
        "list_senders",
        path="/v1/senders",
        summary="The sender processes that are alive",
        handler=queues.read_senders,
        answer=SenderList,
        description="Ours: by their heartbeats of the last 6 seconds.",
        **_OPERATING,
    ),
    Endpoint(
        "list_dead",
        path="/v1/dead",
        summary="Dead letters, oldest first",
        handler=dead.read_list,
        answer=DeadList,
        query=("limit", "kind"),
        description="Ours: at most 1,000, 100 without a `limit`. They stay where they are.",
        **_OPERATING,
    ),
    Endpoint(
        "read_dead",
        path="/v1/dead/{id}",
        summary="A dead letter with its headers and recipients",
        handler=dead.read,
        answer=DeadFull,
        query=("kind",),
        **_READING,
    ),
    Endpoint(
        "replay_dead",
        method="POST",
        path="/v1/dead/replay",
        summary="Send dead letters back where they came from",
        handler=dead.replay,
        request=ReplayBody,
        answer=Replayed,
        query=("kind",),
        description=(
            "Ours: each leaves the dead letters when the broker has it again, and is asked about before it is sent: it "
            "may have been tried."
        ),
        errors=(400, 401, 403, 404, 422, 503),
    ),
)
