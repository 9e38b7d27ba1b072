"""The endpoints of ``/v1/suppressions``."""

from mailwarren.ingest.api import suppressions
from mailwarren.ingest.api.answers.suppressions import (
    SuppressionList,
    SuppressionNamed,
    SuppressionRemoved,
    SuppressionsAdded,
    SuppressionShown,
    SuppressionsImported,
    SuppressionsRemoved,
)
from mailwarren.ingest.api.endpoint import CSV, DELETING, MAKING, PAGE, READING, Endpoint
from mailwarren.ingest.domain.suppressions import SuppressionBody, SuppressionsBody, SuppressionsRemoval

SCOPES = suppressions.SCOPES
DOING = MAKING | {"status": 200}

ENDPOINTS = (
    Endpoint(
        "add_suppression",
        path="/v1/suppressions",
        summary="Put an address on the suppression list",
        description="An address that is there already keeps its entry, unless that would end earlier.",
        handler=suppressions.add,
        request=SuppressionBody,
        answer=SuppressionNamed,
        **DOING,
    ),
    Endpoint(
        "list_suppressions",
        path="/v1/suppressions",
        summary="List suppressions, newest first",
        handler=suppressions.read_list,
        answer=SuppressionList,
        query=(*PAGE, "origin", *SCOPES),
        **READING,
    ),
    Endpoint(
        "add_suppressions",
        path="/v1/suppressions/batch/add",
        summary="Put up to 100 addresses on the suppression list",
        handler=suppressions.add_batch,
        request=SuppressionsBody,
        answer=SuppressionsAdded,
        **DOING,
    ),
    Endpoint(
        "remove_suppressions",
        path="/v1/suppressions/batch/remove",
        summary="Take up to 100 addresses from the suppression list",
        handler=suppressions.remove_batch,
        request=SuppressionsRemoval,
        answer=SuppressionsRemoved,
        **DOING,
    ),
    Endpoint(
        "export_suppressions",
        path="/v1/suppressions/csv",
        summary="Download suppressions as CSV (ours)",
        description="All of a scope, the newest first.",
        handler=suppressions.write_csv,
        answer=str,
        query=SCOPES,
        gives=CSV,
        **READING,
    ),
    Endpoint(
        "import_suppressions",
        path="/v1/suppressions/csv",
        summary="Put the addresses of a CSV file on the suppression list (ours)",
        description=(
            "UTF-8; the first line names the columns: `email`, and `expires_at` if there is one. Of any length: it is "
            "read as it comes in, and may be sent again after an error."
        ),
        handler=suppressions.read_csv,
        request=str,
        answer=SuppressionsImported,
        query=SCOPES,
        takes=CSV,
        **DOING,
    ),
    Endpoint(
        "get_suppression",
        path="/v1/suppressions/{id_or_email}",
        summary="Get a suppression",
        handler=suppressions.read,
        answer=SuppressionShown,
        query=SCOPES,
        **READING,
    ),
    Endpoint(
        "remove_suppression",
        path="/v1/suppressions/{id_or_email}",
        summary="Take an address from the suppression list",
        handler=suppressions.remove,
        answer=SuppressionRemoved,
        query=SCOPES,
        **DELETING,
    ),
)
