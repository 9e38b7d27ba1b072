"""Reading bodies with a limit, and the OpenAPI document."""

import json

import pytest

from mailwarren.ingest.api.body import PATIENCE, ClientGone, read_body
from mailwarren.ingest.api.docs import openapi
from mailwarren.ingest.api.endpoint import CSV, FORM, ZIP
from mailwarren.ingest.api.errors import error_body
from mailwarren.ingest.api.paths import canonical
from mailwarren.ingest.api.tables import ENDPOINTS
from mailwarren.ingest.domain.refusal import Name, Refusal, unavailable
from mailwarren.ingest.domain.requests import Permission

LIMIT = 100


def client(*chunks, gone=False):
    """An ASGI receive that counts what was read."""
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.disconnect"} if gone else {"type": "http.request", "body": b"", "more_body": False})

    async def receive():
        receive.read += 1
        return messages.pop(0)

    receive.read = 0
    return receive


@pytest.mark.parametrize("chunks", [[], [b"x" * LIMIT], [b"x" * 60, b"y" * 40], [b"x"] * LIMIT])
async def test_a_body_up_to_the_limit_is_read(chunks):
    assert await read_body(client(*chunks), None, LIMIT) == b"".join(chunks)


async def test_a_little_too_much_is_heard_out():
    receive = client(b"x" * LIMIT, b"y", b"z")
    with pytest.raises(Refusal) as caught:
        await read_body(receive, str(LIMIT + 2), LIMIT)
    assert (caught.value.status, caught.value.name, receive.read) == (413, "payload_too_large", 4)


async def test_an_announced_flood_is_not_read_at_all():
    receive = client(b"x")
    with pytest.raises(Refusal):
        await read_body(receive, str(LIMIT * PATIENCE + 1), LIMIT)
    assert receive.read == 0


async def test_a_silent_flood_is_cut_off():
    receive = client(*[b"x" * LIMIT] * 1000)
    with pytest.raises(Refusal):
        await read_body(receive, None, LIMIT)
    assert receive.read == PATIENCE + 1


async def test_a_client_that_goes_away_and_one_that_cannot_count():
    with pytest.raises(ClientGone):
        await read_body(client(b"x", gone=True), "5", LIMIT)
    with pytest.raises(Refusal, match="Content-Length"):
        await read_body(client(), "x", LIMIT)


@pytest.fixture(scope="module")
def document():
    return json.loads(json.dumps(openapi(ENDPOINTS, "1")))


def test_every_endpoint_is_described_with_its_body_and_answers(document):
    for endpoint in ENDPOINTS:
        operation = document["paths"][endpoint.path][endpoint.method.lower()]
        assert ("requestBody" in operation) == (endpoint.request is not None)
        if endpoint.answer is None:
            assert all(status.startswith(("4", "5")) for status in operation["responses"])
            continue
        answer = operation["responses"][str(endpoint.status)]["content"][endpoint.gives]["schema"]
        if endpoint.answer is str:
            assert answer == {"type": "string"}
            assert endpoint.gives in {CSV, ZIP}
        else:
            assert answer["$ref"].rpartition("/")[2] in document["components"]["schemas"]
        for status in endpoint.also:
            assert operation["responses"][str(status)] == operation["responses"][str(endpoint.status)]
        if endpoint.takes == FORM:
            assert set(operation["requestBody"]["content"]) == {"multipart/form-data", "text/csv"}
        assert "401" in operation["responses"]
    assert sum(len(methods) for methods in document["paths"].values()) == len(ENDPOINTS)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_every_endpoint_names_the_errors_that_its_kind_can_have(endpoint):
    possible = {401, 403, 503}
    if endpoint.request is not None:
        possible |= {400, 413, 422}
    if endpoint.query:
        possible |= {422}
    if "{" in endpoint.path:
        possible |= {404, 422}
    if "Idempotency-Key" in endpoint.headers:
        possible |= {400, 409}
    if endpoint.files:
        possible |= {408}
    assert possible <= set(endpoint.errors)


def test_references_lead_somewhere(document):
    def references(value):
        if isinstance(value, dict):
            for key, inner in value.items():
                if key == "$ref":
                    yield inner
                else:
                    yield from references(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from references(inner)

    names = {reference.rpartition("/")[2] for reference in references(document)}
    assert {"EmailBody", "BulkBody", "RecipientBody", "ErrorBody", "EmailFull"} <= names
    assert names <= set(document["components"]["schemas"])


def test_the_schema_of_an_email_has_the_wires_names(document):
    schema = document["components"]["schemas"]["EmailBody"]
    assert schema["required"] == ["to"], "a template may have defaults for the others"
    assert schema["additionalProperties"] is False
    keys = document["components"]["schemas"]["ApiKeyBody"]
    assert "that domain only" in keys["properties"]["domain_id"]["description"]
    error = document["components"]["schemas"]["ErrorBody"]
    assert error["required"] == ["statusCode", "name", "message"]


PUBLIC_NAMES = {
    "application_error", "concurrent_idempotent_requests", "internal_server_error", "invalid_api_key",
    "invalid_idempotency_key", "invalid_idempotent_request", "invalid_parameter", "method_not_allowed",
    "missing_api_key", "missing_required_field", "not_found", "restricted_api_key", "validation_error",
}  # fmt: skip
"""Those of the public API's error names that we have a use for: resend-node's union type, resend-php's list."""


def test_an_error_has_a_name_that_every_sdk_takes_for_an_error():
    assert {name.wire for name in Name} == PUBLIC_NAMES
    body = json.loads(error_body(unavailable("Too full.")))
    assert body == {"statusCode": 503, "name": "internal_server_error", "message": "Too full."}


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("/v1/emails", "/v1/emails"),
        ("/emails", "/v1/emails"),
        ("//emails", "/v1/emails"),
        ("/v1//emails", "/v1/emails"),
        ("//v1///emails//batch", "/v1/emails/batch"),
        ("/emails/1/cancel", "/v1/emails/1/cancel"),
        ("/api-keys/1", "/v1/api-keys/1"),
        ("//healthz", "/healthz"),
        ("/docs", "/docs"),
        ("/emails-docs", "/emails-docs"),
        ("/v1emails", "/v1emails"),
        ("/v2/emails", "/v2/emails"),
        ("/v1", "/v1"),
        ("/", "/"),
        ("", ""),
    ],
)
def test_an_endpoint_has_one_path_however_a_base_url_was_joined_to_it(asked, meant):
    assert canonical(asked) == meant


def test_a_sending_key_may_send_and_nothing_else():
    allowed = {endpoint.name for endpoint in ENDPOINTS if endpoint.permission is Permission.SENDING}
    assert allowed == {"send", "send_batch", "send_bulk"}
