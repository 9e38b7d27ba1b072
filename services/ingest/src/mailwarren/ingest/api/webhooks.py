"""``/v1/webhooks``: addresses of the tenant's own that are told of what happens, and what they were told."""

from typing import Any
from uuid import UUID

import msgspec
import structlog
from msgspec import UNSET

from mailwarren.contracts.payloads import payload_of, stored_json, stored_mail_fields
from mailwarren.ingest.api.answers.webhooks import (
    WebhookDeleted,
    WebhookEventFull,
    WebhookEventList,
    WebhookEventNamed,
    WebhookEventShort,
    WebhookList,
    WebhookMade,
    WebhookNamed,
    WebhookShown,
    WebhookTry,
    WebhookTryList,
)
from mailwarren.ingest.api.endpoint import Answer, Call, answer
from mailwarren.ingest.domain.cursor import Page, parse_id, parse_page
from mailwarren.ingest.domain.decoding import decode
from mailwarren.ingest.domain.refusal import Refusal, invalid, not_found
from mailwarren.ingest.domain.webhooks import (
    MAX_WEBHOOKS,
    WebhookBody,
    WebhookChange,
    check_endpoint,
    check_events,
)
from mailwarren.store.states import WebhookState, WebhookStatus

log = structlog.get_logger()


async def create(call: Call) -> Answer:
    """``POST /v1/webhooks``."""
    body = decode(call.body, WebhookBody)
    endpoint = check_endpoint(body.endpoint, private=call.services.private_webhooks)
    events = check_events(body.events)
    _check_possible(call)
    made = await call.services.webhooks.create(call.key.tenant, endpoint, events)
    if made is None:
        raise invalid(f"There are {MAX_WEBHOOKS} webhooks; more are not possible. Delete one first.")
    ident, secret = made
    log.info("ingest.webhook.made", webhook=str(ident), tenant=str(call.key.tenant), by=str(call.key.id))
    return answer(WebhookMade(id=ident, signing_secret=secret), 201)


async def read(call: Call) -> Answer:
    """``GET /v1/webhooks/{id}``."""
    row = await _row(call, _webhook_id(call))
    return answer(_shown(row, call.services.webhooks.secret(row["secret"])))


async def read_list(call: Call) -> Answer:
    """``GET /v1/webhooks``."""
    page = parse_page(call.query, default=None)
    if page.limit is None:
        page = Page(MAX_WEBHOOKS, page.after, page.before)
    shown, more = page.cut(await call.services.webhooks.page(call.key.tenant, page))
    return answer(WebhookList(has_more=more, data=[_shown(row, None) for row in shown]))


async def update(call: Call) -> Answer:
    """``PATCH /v1/webhooks/{id}``."""
    ident = _webhook_id(call)
    change = decode(call.body, WebhookChange)
    if change.webhook_id not in {UNSET, call.path["id"]}:
        raise invalid(f"Invalid `webhook_id` field: the path names {ident}.")
    private = call.services.private_webhooks
    endpoint = None if change.endpoint is UNSET else check_endpoint(change.endpoint, private=private)
    events = None if change.events is UNSET else check_events(change.events)
    status = None if change.status is UNSET else change.status
    if not await call.services.webhooks.update(call.key.tenant, ident, endpoint, events, status):
        raise _no_webhook(ident)
    return answer(WebhookNamed(id=ident))


async def rotate(call: Call) -> Answer:
    """``POST /v1/webhooks/{id}/signing-secret/rotate``."""
    ident = _webhook_id(call)
    _check_possible(call)
    secret = await call.services.webhooks.rotate(call.key.tenant, ident)
    if secret is None:
        raise _no_webhook(ident)
    log.info("ingest.webhook.rotated", webhook=str(ident), tenant=str(call.key.tenant), by=str(call.key.id))
    return answer(WebhookMade(id=ident, signing_secret=secret))


async def delete(call: Call) -> Answer:
    """``DELETE /v1/webhooks/{id}``."""
    ident = _webhook_id(call)
    if not await call.services.webhooks.delete(call.key.tenant, ident):
        raise _no_webhook(ident)
    log.info("ingest.webhook.deleted", webhook=str(ident), tenant=str(call.key.tenant), by=str(call.key.id))
    return answer(WebhookDeleted(id=ident))


async def read_events(call: Call) -> Answer:
    """``GET /v1/webhooks/{id}/events``."""
    page = parse_page(call.query)
    ident = _webhook_id(call)
    await _row(call, ident)
    shown, more = page.cut(await call.services.webhooks.events(call.key.tenant, ident, page))
    return answer(
        WebhookEventList(
            has_more=more,
            data=[
                WebhookEventShort(
                    id=row["id"], type=row["kind"], created_at=row["at"], status=WebhookState(row["state"])
                )
                for row in shown
            ],
        )
    )


async def read_event(call: Call) -> Answer:
    """``GET /v1/webhooks/{id}/events/{event}``."""
    row = await _event(call)
    mail = None if row["message_id"] is None else stored_mail_fields(row)
    return answer(
        WebhookEventFull(
            id=row["id"],
            type=row["kind"],
            created_at=row["at"],
            status=WebhookState(row["state"]),
            next_attempt_at=row["due_at"],
            payload=msgspec.Raw(payload_of(row["kind"], row["at"], stored_json(row["data"]), mail)),
        )
    )


async def read_attempts(call: Call) -> Answer:
    """``GET /v1/webhooks/{id}/events/{event}/attempts``."""
    page = parse_page(call.query)
    event = await _event(call)
    rows = await call.services.webhooks.attempts(call.key.tenant, _webhook_id(call), event["id"], page)
    shown, more = page.cut(rows)
    return answer(
        WebhookTryList(
            has_more=more,
            data=[
                WebhookTry(
                    id=row["id"], http_status_code=row["status"], response=row["response"], sent_at=row["sent_at"]
                )
                for row in shown
            ],
        )
    )


async def replay(call: Call) -> Answer:
    """``POST /v1/webhooks/{id}/events/{event}/replay``."""
    ident, event = _webhook_id(call), _event_id(call)
    if not (await _row(call, ident))["live"]:
        raise invalid("This webhook is disabled: enable it first.")
    if not await call.services.webhooks.replay(call.key.tenant, ident, event):
        raise _no_event(event)
    return answer(WebhookEventNamed(id=event))


def _check_possible(call: Call) -> None:
    if not call.services.webhooks.possible:
        raise invalid("Webhooks cannot be used: this installation has no keys to encrypt their secrets with.")


async def _row(call: Call, ident: UUID) -> Any:
    row = await call.services.webhooks.get(call.key.tenant, ident)
    if row is None:
        raise _no_webhook(ident)
    return row


async def _event(call: Call) -> Any:
    ident, event = _webhook_id(call), _event_id(call)
    await _row(call, ident)
    row = await call.services.webhooks.event(call.key.tenant, ident, event)
    if row is None:
        raise _no_event(event)
    return row


def _webhook_id(call: Call) -> UUID:
    return parse_id(call.path["id"])


def _event_id(call: Call) -> UUID:
    return parse_id(call.path["event"], "event_id")


def _no_webhook(ident: UUID) -> Refusal:
    return not_found(f"There is no webhook with the id {ident}.")


def _no_event(ident: UUID) -> Refusal:
    return not_found(f"This webhook has no event with the id {ident}.")


def _shown(row: Any, secret: str | None) -> WebhookShown:
    return WebhookShown(
        id=row["id"],
        created_at=row["created_at"],
        status=WebhookStatus.ENABLED if row["live"] else WebhookStatus.DISABLED,
        endpoint=row["endpoint"],
        events=row["events"],
        signing_secret=secret,
        disabled_reason=row["reason"],
    )
