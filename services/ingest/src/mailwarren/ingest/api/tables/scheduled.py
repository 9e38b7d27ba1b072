"""The endpoints of emails that wait for their time."""

from mailwarren.ingest.api import scheduled
from mailwarren.ingest.api.answers.emails import Changed
from mailwarren.ingest.api.answers.scheduled import WaitingList
from mailwarren.ingest.api.endpoint import PAGE, READING, Endpoint
from mailwarren.ingest.domain.requests import EmailChange

ENDPOINTS = (
    Endpoint(
        "update_email",
        method="PATCH",
        path="/v1/emails/{id}",
        summary="Change when a scheduled email is sent",
        handler=scheduled.update,
        request=EmailChange,
        answer=Changed,
        description="422 when its release has begun or it was canceled. A held email waits for its new time.",
        errors=(400, 401, 403, 404, 413, 422, 503),
    ),
    Endpoint(
        "release_email",
        method="POST",
        path="/v1/emails/{id}/release",
        summary="Send a held email now",
        handler=scheduled.release,
        answer=Changed,
        description="Ours. A scheduled email that was found long after its time is held until somebody releases, "
        "reschedules or cancels it.",
        errors=(401, 403, 404, 422, 503),
    ),
    Endpoint(
        "list_scheduled",
        path="/v1/scheduled",
        summary="List emails that wait for their time, the next due first",
        handler=scheduled.read_list,
        answer=WaitingList,
        query=("state", *PAGE),
        description="Ours. `state=held` lists what waits for a person.",
        **READING,
    ),
)
