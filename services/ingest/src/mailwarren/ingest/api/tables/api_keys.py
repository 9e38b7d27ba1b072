"""The endpoints of ``/v1/api-keys``."""

from mailwarren.ingest.api import api_keys
from mailwarren.ingest.api.answers.api_keys import KeyChanged, KeyDeleted, KeyList, KeyMade
from mailwarren.ingest.api.endpoint import PAGE, READING, Endpoint
from mailwarren.ingest.domain.requests import ApiKeyBody, ApiKeyChange

ENDPOINTS = (
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
        errors=(400, 401, 403, 413, 422, 503),
    ),
    Endpoint(
        "list_keys",
        path="/v1/api-keys",
        summary="List API keys, newest first",
        handler=api_keys.read_list,
        answer=KeyList,
        query=PAGE,
        **READING,
    ),
    Endpoint(
        "rename_key",
        method="PATCH",
        path="/v1/api-keys/{id}",
        summary="Rename an API key",
        handler=api_keys.rename,
        request=ApiKeyChange,
        answer=KeyChanged,
        errors=(400, 401, 403, 404, 413, 422, 503),
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
)
