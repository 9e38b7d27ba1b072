"""The endpoint of ``/v1/emails/metrics``."""

from mailwarren.ingest.api import email_metrics
from mailwarren.ingest.api.answers.email_metrics import MetricsShown
from mailwarren.ingest.api.endpoint import Endpoint

ENDPOINTS = (
    Endpoint(
        "read_email_metrics",
        method="GET",
        path="/v1/emails/metrics",
        summary="What became of mail, in counts",
        handler=email_metrics.read,
        answer=MetricsShown,
        query=(
            "start_date", "end_date", "timezone", "granularity", "metrics", "dimensions", "domain_id", "email_id",
            "broadcast_id",
        ),
        errors=(401, 403, 422, 503),
        description=(
            "Each recipient counts once for each thing that became of its mail, in the quarter of an hour in which it "
            "happened; `start_date` and `end_date` are widened to quarters. `received` is what the API accepted, "
            "`sent` that without what was suppressed or canceled, `unsubscribed` those who have not come back since. "
            "Counts are written with what they count: they are exact to the ledger at every moment."
        ),
    ),
)  # fmt: skip
