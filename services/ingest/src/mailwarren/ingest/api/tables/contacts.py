"""The endpoints of ``/v1/contacts``, and of contacts in ``/v1/segments`` and the older ``/v1/audiences``."""

from mailwarren.ingest.api import contacts, memberships
from mailwarren.ingest.api.answers.contacts import (
    ContactDeleted,
    ContactList,
    ContactNamed,
    ContactShown,
    ContactTopicList,
    ContactTopicsChanged,
    Membership,
    MembershipEnded,
)
from mailwarren.ingest.api.answers.segments import SegmentList
from mailwarren.ingest.api.endpoint import CHANGING, DELETING, MAKING, PAGE, READING, Endpoint
from mailwarren.ingest.domain.contacts import ContactBody, ContactChange
from mailwarren.ingest.domain.segments import MembershipBody
from mailwarren.ingest.domain.topics import Choice

_LIST = f"Without a `limit` all of them, {contacts.WHOLE:,} at most; `has_more` says whether there are more."
_MADE = (
    "An address is one contact, in whatever letter case it is given: when there is one, it is brought up to date with "
    "what is given, and the answer is 200."
)


def _of(path: str, name: str, where: str, gone: str) -> tuple[Endpoint, ...]:
    one = f"{path}/{{contact}}"
    return (
        Endpoint(
            f"create_{name}",
            path=path,
            summary=f"Make a contact{where}",
            handler=contacts.create,
            request=ContactBody,
            answer=ContactNamed,
            also=(200,),
            description=_MADE,
            **MAKING,
        ),
        Endpoint(
            f"read_{name}",
            path=one,
            summary=f"Read a contact{where}",
            handler=contacts.read,
            answer=ContactShown,
            **READING,
        ),
        Endpoint(
            f"update_{name}",
            path=one,
            summary=f"Change a contact{where}",
            handler=contacts.update,
            request=ContactChange,
            answer=ContactNamed,
            description="What is left out stays; null takes a name or a property's value away.",
            **CHANGING,
        ),
        Endpoint(
            f"delete_{name}",
            path=one,
            summary=f"Delete a contact{where}",
            handler=contacts.delete,
            answer=ContactDeleted,
            description=gone,
            **DELETING,
        ),
    )


ENDPOINTS = (
    *_of(
        "/v1/contacts",
        "contact",
        "",
        "Erased with its memberships and choices. Emails sent to it stay in the ledger for as long as emails are kept, "
        "and a suppression of the address stays, so that it is not written to again by mistake.",
    ),
    Endpoint(
        "list_contacts",
        path="/v1/contacts",
        summary="List contacts, newest first",
        handler=contacts.read_list,
        answer=ContactList,
        query=("segment_id", *PAGE),
        description=_LIST,
        **READING,
    ),
    Endpoint(
        "list_segment_contacts",
        path="/v1/segments/{id}/contacts",
        summary="List the contacts in a segment, newest first",
        handler=contacts.read_list,
        answer=ContactList,
        query=PAGE,
        description=_LIST,
        **READING,
    ),
    Endpoint(
        "list_contact_segments",
        path="/v1/contacts/{contact}/segments",
        summary="List the segments that a contact is in",
        handler=memberships.read_list,
        answer=SegmentList,
        query=PAGE,
        **READING,
    ),
    Endpoint(
        "add_contact_segment",
        method="POST",
        path="/v1/contacts/{contact}/segments/{id}",
        summary="Put a contact into a segment",
        handler=memberships.add,
        request=MembershipBody,
        answer=Membership,
        description="The body may be left out. Who is in already stays in.",
        errors=(400, 401, 403, 404, 413, 422, 503),
    ),
    Endpoint(
        "remove_contact_segment",
        path="/v1/contacts/{contact}/segments/{id}",
        summary="Take a contact out of a segment",
        handler=memberships.remove,
        answer=MembershipEnded,
        **DELETING,
    ),
    Endpoint(
        "list_contact_topics",
        path="/v1/contacts/{contact}/topics",
        summary="List every topic with what holds for a contact",
        handler=memberships.read_topics,
        answer=ContactTopicList,
        query=PAGE,
        **READING,
    ),
    Endpoint(
        "update_contact_topics",
        path="/v1/contacts/{contact}/topics",
        summary="Note what a contact chose about topics",
        handler=memberships.update_topics,
        request=list[Choice],
        answer=ContactTopicsChanged,
        description="Topics that are not named stay as they are.",
        **CHANGING,
    ),
    *_of(
        "/v1/audiences/{audience}/contacts",
        "audience_contact",
        " in an audience (older path)",
        "Taken out of the audience; the contact itself stays. `DELETE /v1/contacts/{contact}` erases it.",
    ),
    Endpoint(
        "list_audience_contacts",
        path="/v1/audiences/{audience}/contacts",
        summary="List the contacts in an audience (older path)",
        handler=contacts.read_list,
        answer=ContactList,
        query=PAGE,
        description=_LIST,
        **READING,
    ),
)
