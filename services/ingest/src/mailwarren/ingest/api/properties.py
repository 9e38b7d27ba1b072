"""``/v1/contact-properties``: what is kept about contacts, each with a type and a value for who has none."""

from uuid import UUID

import structlog

from mailwarren.ingest.adapters.properties import KeyTaken
from mailwarren.ingest.api.answers.properties import PropertyDeleted, PropertyList, PropertyNamed, PropertyShown
from mailwarren.ingest.api.endpoint import Answer, Call, answer
from mailwarren.ingest.domain.cursor import parse_id, parse_page
from mailwarren.ingest.domain.decoding import decode
from mailwarren.ingest.domain.properties import (
    MAX_PROPERTIES,
    Property,
    PropertyBody,
    PropertyChange,
    check_key,
    check_value,
)
from mailwarren.ingest.domain.refusal import Refusal, invalid, not_found

log = structlog.get_logger()

_FALLBACK = "fallback_value"


async def create(call: Call) -> Answer:
    """``POST /v1/contact-properties``."""
    body = decode(call.body, PropertyBody)
    key = check_key(body.key)
    fallback = None if body.fallback_value is None else check_value(body.fallback_value, body.type, _FALLBACK)
    try:
        ident = await call.services.lists.properties.create(call.key.tenant, key, body.type, fallback)
    except KeyTaken as error:
        raise invalid(f"Invalid `key` field: there is a contact property `{key}` already.") from error
    if ident is None:
        raise invalid(f"There are {MAX_PROPERTIES} contact properties; more are not possible. Delete one first.")
    return answer(PropertyNamed(id=ident), 201)


async def read(call: Call) -> Answer:
    """``GET /v1/contact-properties/{id}``."""
    return answer(_shown(await _found(call)))


async def read_list(call: Call) -> Answer:
    """``GET /v1/contact-properties``: all of them unless there is a ``limit``."""
    page = parse_page(call.query, default=None)
    shown, more = page.cut(await call.services.lists.properties.page(call.key.tenant, page))
    return answer(PropertyList(has_more=more, data=[_shown(item) for item in shown]))


async def update(call: Call) -> Answer:
    """``PATCH /v1/contact-properties/{id}``: another fallback."""
    given = decode(call.body, PropertyChange).fallback_value
    item = await _found(call)
    fallback = None if given is None else check_value(given, item.type, _FALLBACK)
    if not await call.services.lists.properties.update(call.key.tenant, item.id, fallback):
        raise _none(item.id)
    return answer(PropertyNamed(id=item.id))


async def delete(call: Call) -> Answer:
    """``DELETE /v1/contact-properties/{id}``: with every contact's value."""
    ident = parse_id(call.path["id"])
    if not await call.services.lists.properties.delete(call.key.tenant, ident):
        raise _none(ident)
    log.info("ingest.property.deleted", property=str(ident), tenant=str(call.key.tenant), by=str(call.key.id))
    return answer(PropertyDeleted(id=ident))


async def _found(call: Call) -> Property:
    ident = parse_id(call.path["id"])
    item = await call.services.lists.properties.get(call.key.tenant, ident)
    if item is None:
        raise _none(ident)
    return item


def _none(ident: UUID) -> Refusal:
    return not_found(f"There is no contact property with the id {ident}.")


def _shown(item: Property) -> PropertyShown:
    return PropertyShown(
        id=item.id, key=item.key, type=item.type, fallback_value=item.fallback, created_at=item.created_at
    )
