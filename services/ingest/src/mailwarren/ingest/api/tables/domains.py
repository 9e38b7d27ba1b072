"""The endpoints of ``/v1/domains``."""

from mailwarren.ingest.api import domains
from mailwarren.ingest.api.answers.domains import DomainList, DomainMade, DomainShort, DomainShown
from mailwarren.ingest.api.endpoint import CHANGING, DELETING, MAKING, PAGE, READING, Endpoint
from mailwarren.ingest.domain.domains import DomainBody, DomainChange

ENDPOINTS = (
    Endpoint(
        "create_domain",
        path="/v1/domains",
        summary="Add a sending domain",
        handler=domains.create,
        request=DomainBody,
        answer=DomainMade,
        description=(
            "Makes its DKIM keys (RSA with 2048 bits, and Ed25519). Publish the records that the answer lists; mail "
            "from the domain, and from subdomains that are not added themselves, is signed from now on."
        ),
        **MAKING,
    ),
    Endpoint(
        "list_domains",
        path="/v1/domains",
        summary="List sending domains, newest first",
        handler=domains.read_list,
        answer=DomainList,
        query=PAGE,
        **READING,
    ),
    Endpoint(
        "read_domain",
        path="/v1/domains/{id}",
        summary="Read a sending domain with its DNS records",
        handler=domains.read,
        answer=DomainShown,
        **READING,
    ),
    Endpoint(
        "change_domain",
        path="/v1/domains/{id}",
        summary="Change a sending domain",
        handler=domains.change,
        request=DomainChange,
        answer=DomainShown,
        **CHANGING,
    ),
    Endpoint(
        "verify_domain",
        method="POST",
        path="/v1/domains/{id}/verify",
        summary="Look at the DNS records of a domain now",
        handler=domains.verify,
        answer=DomainShown,
        description="They are looked at from time to time anyway: every few minutes at first, every hour later.",
        errors=(401, 403, 404, 422, 503),
    ),
    Endpoint(
        "rotate_domain",
        method="POST",
        path="/v1/domains/{id}/rotate",
        summary="Make new DKIM keys for a domain (ours)",
        handler=domains.rotate,
        answer=DomainShown,
        description=(
            "The keys in force sign on until the records of the new ones are seen in the DNS; their own records have "
            "to stay until `keep_until`, because mail that they signed may still be on its way."
        ),
        errors=(401, 403, 404, 422, 503),
    ),
    Endpoint(
        "delete_domain",
        path="/v1/domains/{id}",
        summary="Delete a sending domain and its keys",
        handler=domains.delete,
        answer=DomainShort,
        description="Mail that waits to be signed for it is not sent any more: it expires.",
        **DELETING,
    ),
)
