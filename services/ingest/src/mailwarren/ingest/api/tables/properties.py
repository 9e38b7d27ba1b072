"""The endpoints of ``/v1/contact-properties``."""

from mailwarren.ingest.api import properties
from mailwarren.ingest.api.answers.properties import PropertyDeleted, PropertyList, PropertyNamed, PropertyShown
from mailwarren.ingest.api.endpoint import CHANGING, DELETING, MAKING, PAGE, READING, Endpoint
from mailwarren.ingest.domain.properties import MAX_PROPERTIES, MAX_VALUE, PropertyBody, PropertyChange

ENDPOINTS = (
    Endpoint(
        "create_contact_property",
        path="/v1/contact-properties",
        summary="Declare a contact property",
        handler=properties.create,
        request=PropertyBody,
        answer=PropertyNamed,
        description=f"Up to {MAX_PROPERTIES}; a text has at most {MAX_VALUE} characters.",
        **MAKING,
    ),
    Endpoint(
        "list_contact_properties",
        path="/v1/contact-properties",
        summary="List contact properties, newest first",
        handler=properties.read_list,
        answer=PropertyList,
        query=PAGE,
        **READING,
    ),
    Endpoint(
        "read_contact_property",
        path="/v1/contact-properties/{id}",
        summary="Read a contact property",
        handler=properties.read,
        answer=PropertyShown,
        **READING,
    ),
    Endpoint(
        "update_contact_property",
        path="/v1/contact-properties/{id}",
        summary="Change the fallback of a contact property",
        handler=properties.update,
        request=PropertyChange,
        answer=PropertyNamed,
        **CHANGING,
    ),
    Endpoint(
        "delete_contact_property",
        path="/v1/contact-properties/{id}",
        summary="Delete a contact property",
        handler=properties.delete,
        answer=PropertyDeleted,
        description="With every contact's value of it.",
        **DELETING,
    ),
)
