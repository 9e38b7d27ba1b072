"""``/v1/contacts`` and the older ``/v1/audiences/{audience}/contacts``: the same contacts, seen through a segment."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import structlog
from msgspec import UnsetType

from mailwarren.contracts.unsubscribe import LISTS
from mailwarren.ingest.api.answers.contacts import (
    ContactDeleted,
    ContactList,
    ContactNamed,
    ContactShown,
    PropertyValue,
)
from mailwarren.ingest.api.endpoint import Answer, Call, answer
from mailwarren.ingest.domain.contacts import (
    Contact,
    ContactBody,
    ContactChange,
    check_contact,
    check_person,
    check_same,
    parse_contact,
)
from mailwarren.ingest.domain.cursor import MAX_LIMIT, Page, parse_id, parse_page
from mailwarren.ingest.domain.decoding import decode
from mailwarren.ingest.domain.properties import Property, check_values
from mailwarren.ingest.domain.refusal import Refusal, invalid, not_found
from mailwarren.ingest.domain.topics import Choice
from mailwarren.store.states import Subscription

log = structlog.get_logger()

WHOLE = 10_000
"""Contacts in a list without a limit: a whole one for nearly everybody, and a bound for who has a million."""


async def create(call: Call) -> Answer:
    """``POST``: 201, or 200 when there is a contact of this address, which is brought up to date."""
    body = decode(call.body, ContactBody)
    lists, tenant = call.services.lists, call.key.tenant
    row = check_contact(body, await lists.properties.declared(tenant))
    audience = _audience(call, body.audience_id)
    segments = {ref.id for ref in body.segments or ()} | ({audience} if audience else set())
    choices = body.topics or []
    if (unknown := await lists.segments.missing(tenant, segments)) is not None:
        raise no_segment(unknown)
    if (unknown := await lists.topics.missing(tenant, [choice.id for choice in choices])) is not None:
        raise no_topic(unknown)
    done = await lists.create(tenant, row, segments, choices)
    await tell_lists(call, row.email_key, unsubscribed=row.unsubscribed)
    await tell_topics(call, row.email_key, choices)
    return answer(ContactNamed(id=done.id), 201 if done.made else 200)


async def read(call: Call) -> Answer:
    """``GET`` one."""
    contact = await found_contact(call)
    return answer(_shown(contact, await call.services.lists.properties.declared(call.key.tenant)))


async def read_list(call: Call) -> Answer:
    """``GET`` a page: of all, or of those in a segment, which the path or ``segment_id`` names."""
    page = parse_page(call.query, default=None, others=() if call.path else ("segment_id",))
    if page.limit is None:
        page = Page(WHOLE, page.after, page.before)
    lists, tenant = call.services.lists, call.key.tenant
    segment = _listed_segment(call)
    if segment and await lists.segments.get(tenant, segment) is None:
        raise no_segment(segment)
    shown, more = page.cut(await lists.contacts.page(tenant, page, segment))
    declared = await lists.properties.declared(tenant)

    def written() -> Answer:
        return answer(ContactList(has_more=more, data=[_shown(contact, declared) for contact in shown]))

    # Ten thousand take a tenth of a second, beside other calls.
    return written() if len(shown) <= MAX_LIMIT else await asyncio.to_thread(written)


async def update(call: Call) -> Answer:
    """``PATCH``."""
    change = decode(call.body, ContactChange)
    contact = await found_contact(call, change.audience_id)
    check_same(contact.id, contact.email_key, given_id=change.id, given_email=change.email)
    for field in ("first_name", "last_name"):
        name = getattr(change, field)
        if isinstance(name, str):
            check_person(name, field)
    lists, tenant = call.services.lists, call.key.tenant
    values = check_values(change.properties, await lists.properties.declared(tenant)) if change.properties else {}
    if not await lists.update(tenant, contact.id, change, values):
        raise _no_contact(call)
    await tell_lists(call, contact.email_key, unsubscribed=change.unsubscribed)
    return answer(ContactNamed(id=contact.id))


async def delete(call: Call) -> Answer:
    """``DELETE``: erased; through an audience, only taken out of it."""
    contact = await found_contact(call)
    lists, tenant = call.services.lists, call.key.tenant
    if audience := _audience(call):
        gone = await lists.segments.remove(tenant, audience, contact.id)
    else:
        gone = await lists.delete(tenant, contact.id)
        log.info("ingest.contact.deleted", contact=str(contact.id), tenant=str(tenant), by=str(call.key.id))
    if not gone:
        raise _no_contact(call)
    return answer(ContactDeleted(id=contact.id, contact=contact.id))


async def found_contact(call: Call, audience_id: UUID | None = None) -> Contact:
    """The contact that the path names; through an audience, only if it is in it.

    Raises:
        Refusal: 404, there is none; 422, the path names nobody.
    """
    asked = parse_contact(call.path["contact"])
    audience = _audience(call, audience_id)
    lists, tenant = call.services.lists, call.key.tenant
    contact = await lists.contacts.find(tenant, asked)
    if contact is None or (audience and not await lists.segments.has(tenant, audience, contact.id)):
        raise _no_contact(call)
    return contact


async def tell_lists(call: Call, address: str, *, unsubscribed: bool | UnsetType | None) -> None:
    """Tell the senders what a call said of a contact and all lists, if it did."""
    if unsubscribed is True:
        await call.services.told.suppressed(call.key.tenant, LISTS, [address])
    elif unsubscribed is False:
        await call.services.told.wanted(call.key.tenant, LISTS, [address])


async def tell_topics(call: Call, address: str, choices: Sequence[Choice]) -> None:
    """The same of topics."""
    told, tenant = call.services.told, call.key.tenant
    for choice in choices:
        if choice.subscription is Subscription.IN:
            await told.wanted(tenant, choice.id, [address])
        else:
            await told.suppressed(tenant, choice.id, [address])


def no_segment(ident: UUID) -> Refusal:
    """404."""
    return not_found(f"There is no segment with the id {ident}.")


def no_topic(ident: UUID) -> Refusal:
    """404."""
    return not_found(f"There is no topic with the id {ident}.")


def _audience(call: Call, given: UUID | None = None) -> UUID | None:
    if "audience" not in call.path:
        return given
    audience = parse_id(call.path["audience"], "audience_id")
    if given not in {None, audience}:
        raise invalid(f"Invalid `audience_id` field: the path names the audience {audience}.")
    return audience


def _listed_segment(call: Call) -> UUID | None:
    if "id" in call.path:
        return parse_id(call.path["id"])
    if "segment_id" in call.query:
        return parse_id(call.query["segment_id"], "segment_id")
    return _audience(call)


def _no_contact(call: Call) -> Refusal:
    where = f" in the audience {call.path['audience'][:80]}" if "audience" in call.path else ""
    return not_found(f"There is no contact {call.path['contact'][:300]}{where}.")


def _shown(contact: Contact, declared: Sequence[Property]) -> ContactShown:
    stored = contact.properties
    return ContactShown(
        id=contact.id,
        email=contact.email,
        first_name=contact.first_name,
        last_name=contact.last_name,
        created_at=contact.created_at,
        unsubscribed=contact.unsubscribed,
        properties={
            item.key: PropertyValue(stored[item.place], item.type) for item in declared if item.place in stored
        },
    )
