"""The OpenAPI document, made from the table of endpoints and the msgspec Structs they take and answer."""

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from mailwarren.ingest.api.endpoint import CSV, FORM, JSON, Endpoint
from mailwarren.ingest.api.errors import ErrorBody
from mailwarren.ingest.domain.cursor import DEFAULT_LIMIT, MAX_LIMIT
from mailwarren.ingest.domain.email_metrics import METRICS, Granularity
from mailwarren.ingest.domain.idempotency import MAX_KEY
from mailwarren.ingest.domain.imports.request import FIELDS as IMPORT_FIELDS
from mailwarren.ingest.domain.requests import RecipientBody
from mailwarren.ingest.domain.suppressions import Scope
from mailwarren.store.states import Origin, State

DESCRIPTION = """
Send mail and read what became of it. The wire contract follows Resend's public API, so its official SDKs work with
only their base URL changed; Mailwarren is not affiliated with Resend. Fields marked *ours* are additions.

Every error has the form `{"statusCode", "name", "message"}`. Answers carry `x-request-id`, which the logs repeat,
and `traceresponse` with the trace id (the one of your `traceparent` header, if you sent one), under which the logs of
all services tell of the mail.
"""
_REF = "#/components/schemas/{name}"
_PARAMETERS: dict[str, dict[str, Any]] = {
    "status": {
        "in": "query",
        "schema": {"type": "string", "enum": ["queued", "in_progress", "completed", "failed"]},
        "description": "Only imports that are so far.",
    },
    **{
        name: {"in": "query", "schema": {"type": "string"}, "description": "As the form's field of this name."}
        for name in (*IMPORT_FIELDS, "filename")
    },
    "state": {
        "in": "query",
        "schema": {"type": "string", "enum": ["scheduled", "held"]},
        "description": "Only what waits for its time, or only what waits for a person.",
    },
    "limit": {
        "in": "query",
        "schema": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT},
        "description": (
            f"Without it {DEFAULT_LIMIT}; of API keys, overrides in force, contacts and what belongs to them as "
            "many as there are."
        ),
    },
    "segment_id": {
        "in": "query",
        "schema": {"type": "string", "format": "uuid"},
        "description": "Only those in this segment.",
    },
    "broadcast_id": {
        "in": "query",
        "schema": {"type": "string", "format": "uuid"},
        "description": "Ours: only those of this broadcast, in an order of their own.",
    },
    "email_id": {
        "in": "query",
        "schema": {"type": "string"},
        "description": "Up to 100 emails, with commas between. Not together with broadcasts.",
    },
    "domain_id": {
        "in": "query",
        "schema": {"type": "string"},
        "description": "Up to 100 sending domains, with commas between; with them the domains below them.",
    },
    "start_date": {
        "in": "query",
        "schema": {"type": "string"},
        "description": "A date or a time; without it six days before `end_date`.",
    },
    "end_date": {
        "in": "query",
        "schema": {"type": "string"},
        "description": "A date, which is taken whole, or a time; without it, and at most, now.",
    },
    "timezone": {
        "in": "query",
        "schema": {"type": "string", "default": "UTC"},
        "description": "Where days begin, as `America/New_York`.",
    },
    "granularity": {
        "in": "query",
        "schema": {"type": "string", "enum": [*Granularity], "default": "daily"},
        "description": "The length of a `period`. Weeks begin on Mondays.",
    },
    "metrics": {
        "in": "query",
        "schema": {"type": "string"},
        "description": f"Some of {', '.join(METRICS)}, with commas between; without it all.",
    },
    "dimensions": {
        "in": "query",
        "schema": {"type": "string"},
        "description": "Some of period, domain, email and broadcast, with commas between.",
    },
    "type": {
        "in": "query",
        "schema": {"type": "string", "enum": ["sent", *sorted(State)]},
        "description": "Required: what became of their mail.",
    },
    "email": {"in": "query", "schema": {"type": "string"}, "description": "A part of their addresses."},
    "bounce_type": {
        "in": "query",
        "schema": {"type": "string", "enum": ["permanent", "transient", "undetermined"]},
        "description": "With `type=bounced`.",
    },
    "origin": {
        "in": "query",
        "schema": {"type": "string", "enum": [origin.value for origin in Origin]},
        "description": "Only what came to the list in this way; of the scope `all`.",
    },
    "scope": {
        "in": "query",
        "schema": {"type": "string", "enum": [scope.value for scope in Scope]},
        "description": "`all` (the default), `lists`, or `topic` with a `topic_id`.",
    },
    "topic_id": {
        "in": "query",
        "schema": {"type": "string", "format": "uuid"},
        "description": "Of mail about this topic.",
    },
    "after": {
        "in": "query",
        "schema": {"type": "string", "format": "uuid"},
        "description": "Show what is older than this id. Not together with `before`.",
    },
    "before": {
        "in": "query",
        "schema": {"type": "string", "format": "uuid"},
        "description": "Show what is newer than this id.",
    },
    "Idempotency-Key": {
        "in": "header",
        "schema": {"type": "string", "maxLength": MAX_KEY},
        "description": "For 24 hours the same call with the same key gets the same answer and makes no second mail.",
    },
    "day": {
        "in": "query",
        "schema": {"type": "string", "format": "date"},
        "description": "A UTC day; without it today, as far as it has been.",
    },
    "domain": {"in": "query", "schema": {"type": "string"}, "description": "Only this policy domain."},
    "after_domain": {
        "in": "query",
        "schema": {"type": "string"},
        "description": "Show the domains that come after this one by name.",
    },
    "organization": {
        "in": "query",
        "schema": {"type": "string", "default": "Mailwarren"},
        "description": "Who reports; shown as it is given.",
    },
    "contact": {
        "in": "query",
        "schema": {"type": "string"},
        "description": "Whom to ask about the report; shown as it is given.",
    },
    "past": {
        "in": "query",
        "schema": {"type": "boolean", "default": False},
        "description": "With those that have ended.",
    },
    "kind": {
        "in": "query",
        "schema": {"type": "string", "enum": ["mail", "unrouted", "ops"], "default": "mail"},
        "description": "Dead letters of `mail.dead`, `mail.unrouted` or `ops.dead`.",
    },
    "x-batch-validation": {
        "in": "header",
        "schema": {"type": "string", "enum": ["strict", "permissive"], "default": "strict"},
    },
}

_OF: dict[tuple[str, str], dict[str, Any]] = {
    ("read_email_metrics", "broadcast_id"): {
        "in": "query",
        "schema": {"type": "string"},
        "description": "Up to 100 broadcasts, with commas between.",
    },
    ("list_emails", "to"): {
        "in": "query",
        "schema": {"type": "string"},
        "description": "Ours: only those with a delivery to this address, in whatever letter case.",
    },
    ("list_emails", "state"): {
        "in": "query",
        "schema": {"type": "string", "enum": sorted(State)},
        "description": "Ours: only those with a delivery in this state.",
    },
    ("list_emails", "tag"): {
        "in": "query",
        "schema": {"type": "string", "pattern": "^[^:]+:.+$"},
        "description": "Ours: only those with this tag, as `name:value`.",
    },
}
"""Parameters that mean something else, or are there only, at one endpoint."""
_ID: dict[str, Any] = {"schema": {"type": "string", "format": "uuid"}}
_PATH: dict[str, dict[str, Any]] = {
    "contact": {"schema": {"type": "string"}, "description": "The contact's id, or its email address."},
    "id_or_email": {"schema": {"type": "string"}, "description": "The entry's id, or the address."},
    "id_or_alias": {"schema": {"type": "string"}, "description": "The template's id, or its alias."},
    "number": {"schema": {"type": "integer", "minimum": 1}},
}
"""Parts of paths that are no ids."""


def openapi(endpoints: Sequence[Endpoint], version: str) -> dict[str, Any]:
    """The document."""
    types = [kind for endpoint in endpoints for kind in (endpoint.request, endpoint.answer) if kind is not None]
    types += [ErrorBody, RecipientBody]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    references = {_name(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    # The rows are decoded one by one, so to msgspec they are raw; for people they have a type.
    components["BulkBody"]["properties"]["recipients"]["items"] = references[_name(RecipientBody)]
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, references)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Mailwarren", "version": version, "description": DESCRIPTION},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key, `mw_...`."}},
        },
        "security": [{"key": []}],
    }


def _operation(endpoint: Endpoint, references: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "description": endpoint.description,
        "tags": [endpoint.path.split("/")[2]],
        "parameters": list(_parameters(endpoint)),
        "responses": {
            **_done(endpoint, references),
            **{
                str(status): _content(HTTPStatus(status).phrase, references[_name(ErrorBody)])
                for status in endpoint.errors
            },
        },
    }
    if endpoint.request is not None:
        schema = references[_name(endpoint.request)]
        content = _content("", schema, endpoint.takes)
        if endpoint.takes == FORM:
            content["content"][CSV] = {"schema": {"type": "string"}}
        operation["requestBody"] = content | {"required": True}
    return operation


def _done(endpoint: Endpoint, references: dict[str, Any]) -> dict[str, Any]:
    if not endpoint.answer:
        return {}
    done = _content("Done", references[_name(endpoint.answer)], endpoint.gives)
    return {str(status): done for status in (endpoint.status, *endpoint.also)}


def _parameters(endpoint: Endpoint) -> Iterable[dict[str, Any]]:
    for name in re.findall(r"{(\w+)}", endpoint.path):
        yield {"name": name, "in": "path", "required": True} | _PATH.get(name, _ID)
    for name in (*endpoint.query, *endpoint.headers):
        yield {"name": name, "required": False} | (_OF.get((endpoint.name, name)) or _PARAMETERS[name])


def _content(description: str, schema: Any, media: str = JSON) -> dict[str, Any]:
    content: dict[str, Any] = {"content": {media: {"schema": schema}}}
    return content | {"description": description} if description else content


def _name(kind: Any) -> str:
    return repr(kind)
