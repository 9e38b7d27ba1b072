"""The endpoint of ``/v1/tls-reports``."""

from mailwarren.ingest.api import tls_reports
from mailwarren.ingest.api.answers.tls_reports import TlsReport
from mailwarren.ingest.api.endpoint import Endpoint

ENDPOINTS = (
    Endpoint(
        "read_tls_report",
        method="GET",
        path="/v1/tls-reports",
        summary="How TLS with the recipients' mail hosts went on a day",
        handler=tls_reports.read,
        answer=TlsReport,
        query=("day", "domain", "after_domain", "limit", "organization", "contact"),
        errors=(401, 403, 422, 503),
        description=("Ours: negotiations of TLS for your mail by policy domain and result, as the JSON of RFC 8460."),
    ),
)
