"""The endpoints of ``/v1/privacy``, which are ours."""

from mailwarren.ingest.api import privacy
from mailwarren.ingest.api.answers.privacy import (
    Admitted,
    PrivacyRequestDeleted,
    PrivacyRequestList,
    PrivacyRequestMade,
    PrivacyRequestShown,
)
from mailwarren.ingest.api.endpoint import DELETING, MAKING, PAGE, READING, ZIP, Endpoint
from mailwarren.ingest.domain.privacy import AdmitBody, PrivacyBody

_PATH = "/v1/privacy/requests"
_ONE = f"{_PATH}/{{id}}"

ENDPOINTS = (
    Endpoint(
        "create_privacy_request",
        path=_PATH,
        summary="Export or erase what is stored of an address",
        handler=privacy.create,
        request=PrivacyBody,
        answer=PrivacyRequestMade,
        description=(
            "Ours. A worker does it: read the request to see how far it is. An erasure cannot be undone. It waits "
            "until mail to the address that is under way has ended, and from its start on the address gets no mail."
        ),
        **MAKING,
    ),
    Endpoint(
        "list_privacy_requests",
        path=_PATH,
        summary="List exports and erasures, newest first",
        handler=privacy.read_list,
        answer=PrivacyRequestList,
        query=PAGE,
        **READING,
    ),
    Endpoint(
        "read_privacy_request",
        path=_ONE,
        summary="Read how far an export or erasure is",
        handler=privacy.read,
        answer=PrivacyRequestShown,
        **READING,
    ),
    Endpoint(
        "download_privacy_export",
        path=f"{_ONE}/download",
        summary="Download what an export found",
        handler=privacy.download,
        answer=str,
        gives=ZIP,
        description=(
            "Ours. A ZIP file with `index.json` and a file of JSON lines for each kind of record. 422 while the export "
            "is under way, 404 after `MAILWARREN_EXPORT_DAYS`."
        ),
        **READING,
    ),
    Endpoint(
        "delete_privacy_request",
        path=_ONE,
        summary="Delete a request that has ended, and its file",
        handler=privacy.delete,
        answer=PrivacyRequestDeleted,
        **DELETING,
    ),
    Endpoint(
        "admit_erased_address",
        method="POST",
        path="/v1/privacy/admit",
        summary="Let an erased address have mail again",
        handler=privacy.admit,
        request=AdmitBody,
        answer=Admitted,
        description="Ours. For a person who asks for mail after an erasure; nothing that was erased comes back.",
        errors=(400, 401, 403, 413, 422, 503),
    ),
)
