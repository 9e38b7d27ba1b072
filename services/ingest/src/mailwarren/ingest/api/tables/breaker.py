"""The endpoints of ``/v1/breaker``."""

from mailwarren.ingest.api import breaker
from mailwarren.ingest.api.answers.breaker import BreakerResumed, BreakerShown
from mailwarren.ingest.api.endpoint import Endpoint

ENDPOINTS = (
    Endpoint(
        "read_breaker",
        method="GET",
        path="/v1/breaker",
        summary="How much of your mail bounces, and whether bulk mail is paused for it",
        handler=breaker.read,
        answer=BreakerShown,
        errors=(401, 403, 503),
        description=(
            "Ours. When too much of a tenant's mail bounces or draws complaints, its bulk mail waits: new bulk mail is "
            "a 403 that says why, what is queued is held by the senders."
        ),
    ),
    Endpoint(
        "resume_bulk",
        method="POST",
        path="/v1/breaker/resume",
        summary="Go on with bulk mail that was paused",
        handler=breaker.resume,
        answer=BreakerResumed,
        errors=(401, 403, 422, 503),
        description="Ours. What is counted begins anew with the next quarter of an hour.",
    ),
)
