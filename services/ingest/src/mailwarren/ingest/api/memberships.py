"""``/v1/contacts/{contact}/segments`` and ``/topics``: what a contact is in, and what it chose."""

from mailwarren.ingest.api.answers.contacts import (
    ContactTopic,
    ContactTopicList,
    ContactTopicsChanged,
    Membership,
    MembershipEnded,
)
from mailwarren.ingest.api.answers.segments import SegmentList
from mailwarren.ingest.api.contacts import found_contact, no_segment, no_topic, tell_topics
from mailwarren.ingest.api.endpoint import Answer, Call, answer
from mailwarren.ingest.api.segments import shown_short
from mailwarren.ingest.domain.contacts import check_same
from mailwarren.ingest.domain.cursor import parse_id, parse_page
from mailwarren.ingest.domain.decoding import decode
from mailwarren.ingest.domain.refusal import invalid, not_found
from mailwarren.ingest.domain.segments import MembershipBody
from mailwarren.ingest.domain.topics import Choice
from mailwarren.store.states import Subscription


async def add(call: Call) -> Answer:
    """``POST /v1/contacts/{contact}/segments/{id}``; who is in already stays in."""
    ident = parse_id(call.path["id"])
    # SDKs repeat the path in a body, or send none.
    body = decode(call.body, MembershipBody) if call.body.strip() else MembershipBody()
    if body.segment_id not in {None, ident}:
        raise invalid(f"Invalid `segment_id` field: the path names the segment {ident}.")
    contact = await found_contact(call)
    check_same(contact.id, contact.email_key, given_id=body.contact_id, given_email=body.email, field="contact_id")
    segments = call.services.lists.segments
    await segments.add(call.key.tenant, [contact.id], [ident])
    if not await segments.has(call.key.tenant, ident, contact.id):
        raise no_segment(ident)
    return answer(Membership(id=contact.id))


async def remove(call: Call) -> Answer:
    """``DELETE /v1/contacts/{contact}/segments/{id}``."""
    ident = parse_id(call.path["id"])
    contact = await found_contact(call)
    segments = call.services.lists.segments
    if await segments.get(call.key.tenant, ident) is None:
        raise no_segment(ident)
    if not await segments.remove(call.key.tenant, ident, contact.id):
        raise not_found(f"The contact {contact.id} is not in the segment {ident}.")
    return answer(MembershipEnded(id=contact.id))


async def read_list(call: Call) -> Answer:
    """``GET /v1/contacts/{contact}/segments``."""
    page = parse_page(call.query, default=None)
    contact = await found_contact(call)
    shown, more = page.cut(await call.services.lists.segments.of_contact(call.key.tenant, contact.id, page))
    return answer(SegmentList(has_more=more, data=[shown_short(row) for row in shown]))


async def read_topics(call: Call) -> Answer:
    """``GET /v1/contacts/{contact}/topics``: every topic, whether the contact chose or not."""
    page = parse_page(call.query, default=None)
    contact = await found_contact(call)
    shown, more = page.cut(await call.services.lists.topics.of_contact(call.key.tenant, contact.id, page))
    return answer(
        ContactTopicList(
            has_more=more,
            data=[
                ContactTopic(
                    id=row["id"],
                    name=row["name"],
                    description=row["description"],
                    subscription=Subscription(row["subscription"]),
                )
                for row in shown
            ],
        )
    )


async def update_topics(call: Call) -> Answer:
    """``PATCH /v1/contacts/{contact}/topics``; what is not named stays."""
    choices = decode(call.body, list[Choice])
    contact = await found_contact(call)
    lists = call.services.lists
    if (unknown := await lists.topics.missing(call.key.tenant, [choice.id for choice in choices])) is not None:
        raise no_topic(unknown)
    await lists.choose(call.key.tenant, contact.id, choices)
    await tell_topics(call, contact.email_key, choices)
    return answer(ContactTopicsChanged(id=contact.id))
