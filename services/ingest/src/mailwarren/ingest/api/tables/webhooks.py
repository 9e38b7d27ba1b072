"""The endpoints of ``/v1/webhooks``."""

from mailwarren.ingest.api import webhooks
from mailwarren.ingest.api.answers.webhooks import (
    WebhookDeleted,
    WebhookEventFull,
    WebhookEventList,
    WebhookEventNamed,
    WebhookList,
    WebhookMade,
    WebhookNamed,
    WebhookShown,
    WebhookTryList,
)
from mailwarren.ingest.api.endpoint import CHANGING, DELETING, MAKING, PAGE, READING, Endpoint
from mailwarren.ingest.domain.webhooks import WebhookBody, WebhookChange

_ASKING = (401, 403, 404, 422, 503)

ENDPOINTS = (
    Endpoint(
        "create_webhook",
        path="/v1/webhooks",
        summary="Make a webhook",
        handler=webhooks.create,
        request=WebhookBody,
        answer=WebhookMade,
        description="It is told of what happens from a second later on. Requests are signed as Standard Webhooks.",
        **MAKING,
    ),
    Endpoint(
        "list_webhooks",
        path="/v1/webhooks",
        summary="List webhooks, newest first",
        handler=webhooks.read_list,
        answer=WebhookList,
        query=PAGE,
        **READING,
    ),
    Endpoint(
        "read_webhook",
        path="/v1/webhooks/{id}",
        summary="Read a webhook with its secret",
        handler=webhooks.read,
        answer=WebhookShown,
        **READING,
    ),
    Endpoint(
        "update_webhook",
        path="/v1/webhooks/{id}",
        summary="Change, disable or enable a webhook",
        handler=webhooks.update,
        request=WebhookChange,
        answer=WebhookNamed,
        **CHANGING,
    ),
    Endpoint(
        "delete_webhook",
        path="/v1/webhooks/{id}",
        summary="Delete a webhook",
        handler=webhooks.delete,
        answer=WebhookDeleted,
        description="What it has not been told yet is not told any more.",
        **DELETING,
    ),
    Endpoint(
        "rotate_webhook_secret",
        method="POST",
        path="/v1/webhooks/{id}/signing-secret/rotate",
        summary="Give a webhook a new secret",
        handler=webhooks.rotate,
        answer=WebhookMade,
        description="For 24 hours requests have two signatures, by the new secret and by the one before.",
        errors=_ASKING,
    ),
    Endpoint(
        "list_webhook_events",
        path="/v1/webhooks/{id}/events",
        summary="List what a webhook was told or will be, newest first",
        handler=webhooks.read_events,
        answer=WebhookEventList,
        query=PAGE,
        **READING,
    ),
    Endpoint(
        "read_webhook_event",
        path="/v1/webhooks/{id}/events/{event}",
        summary="Read an event with its payload",
        handler=webhooks.read_event,
        answer=WebhookEventFull,
        **READING,
    ),
    Endpoint(
        "list_webhook_attempts",
        path="/v1/webhooks/{id}/events/{event}/attempts",
        summary="List the tries of an event, newest first",
        handler=webhooks.read_attempts,
        answer=WebhookTryList,
        query=PAGE,
        **READING,
    ),
    Endpoint(
        "replay_webhook_event",
        method="POST",
        path="/v1/webhooks/{id}/events/{event}/replay",
        summary="Tell a webhook of an event once more",
        handler=webhooks.replay,
        answer=WebhookEventNamed,
        description="At once and with the same id, whatever came of it before; its schedule of tries begins anew.",
        errors=_ASKING,
    ),
)
