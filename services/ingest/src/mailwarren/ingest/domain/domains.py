"""Sending domains: what callers ask for, and which of them the mail of a sender belongs to."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from mailwarren.contracts.tls import TlsNeed
from mailwarren.ingest.domain.addresses import InvalidAddress, parse_address
from mailwarren.ingest.domain.refusal import Refusal, invalid, missing

MAX_DOMAINS = 10_000
"""Of a tenant."""
MAX_NAME = 253
"""Characters of a domain name (RFC 1035 §2.3.4)."""
LONGEST_PREFIX = len("mwr-00000000._domainkey.")
"""Characters that stand before a domain in the name of one of its records."""
RETURN_PATH = "send"
"""The label of the return path where the caller chooses none."""
BOUNCES = "bounces"
"""The local part of envelope senders."""
REGION = "us-east-1"
"""What is shown as the region where the caller names none."""
OPPORTUNISTIC, ENFORCED = "opportunistic", "enforced"
"""The values of ``tls`` of a domain; the first where the caller names none."""

_LABELS = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*")

Opens = Annotated[bool | None, Meta(description="Whether opens of mail from the domain are tracked; off without it.")]
Clicks = Annotated[bool | None, Meta(description="The same of clicks on links in `html`.")]
TrackingName = Annotated[
    str | None,
    Meta(description="The name below the domain, such as `links`, that tracked links lead over; empty: none."),
]
Tls = Annotated[
    Literal["opportunistic", "enforced"] | None,
    Meta(description="`enforced`: mail from the domain goes over TLS or not at all, as with `tls` of a single mail."),
]


class DomainBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``POST /v1/domains``."""

    name: Annotated[str, Meta(description="A domain, or a subdomain, that `from` addresses have.")]
    region: Annotated[
        Literal["us-east-1", "eu-west-1", "sa-east-1", "ap-northeast-1"] | None,
        Meta(description="Kept and shown, for SDKs that ask for it: mail is sent from where this system runs."),
    ] = None
    custom_return_path: Annotated[
        str | None,
        Meta(description=f"The name below the domain that bounces come to; `{RETURN_PATH}` without it."),
    ] = None
    open_tracking: Opens = None
    click_tracking: Clicks = None
    tracking_subdomain: TrackingName = None
    tls: Tls = None


class DomainChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``PATCH /v1/domains/{id}``: what is left out stays."""

    id: Annotated[str | None, Meta(description="As in the path; SDKs repeat it here.")] = None
    custom_return_path: Annotated[str | None, Meta(description="Ours: the return path can be changed later.")] = None
    open_tracking: Opens = None
    click_tracking: Clicks = None
    tracking_subdomain: TrackingName = None
    tls: Tls = None


class SendingDomain(msgspec.Struct, frozen=True, gc=False):
    """A domain as mail needs it when it is accepted.

    ``verified``: mail may go out from it where only verified domains may. ``strict``: DMARC takes its signature for
    mail of the very domain only, not of subdomains. ``envelope_sender`` is None until its return path is there, as
    ``tracking_host`` is until its record is. ``tls``: how much its mail asks for.
    """

    id: UUID
    name: str
    verified: bool
    strict: bool = False
    envelope_sender: str | None = None
    tls: TlsNeed | None = None
    open_tracking: bool = False
    click_tracking: bool = False
    tracking_host: str | None = None


def check_domain(name: str) -> str:
    """A domain's name in lower case A-labels.

    Raises:
        Refusal: 422.
    """
    if not name.strip():
        raise missing("Missing `name` field: give a domain, such as `example.com`.")
    if "@" in name:
        raise invalid("Invalid `name` field: give the domain alone, what stands after the @.")
    try:
        found = parse_address(f"postmaster@{name.strip().removesuffix('.')}").rpartition("@")[2].lower()
    except InvalidAddress as error:
        raise invalid(f"Invalid `name` field: {error}") from error
    if "." not in found:
        raise invalid("Invalid `name` field: a top-level domain cannot be a sending domain.")
    if len(found) > MAX_NAME - LONGEST_PREFIX:
        raise invalid(
            f"Invalid `name` field: at most {MAX_NAME - LONGEST_PREFIX} characters, because its records stand below it."
        )
    return found


def check_tracking(body: "DomainBody | DomainChange", name: str, site_host: str, *, made: bool) -> str | None:
    """The labels of the host of tracked links, as :func:`check_return_path`; None: the caller says nothing of it.

    Args:
        body: what the caller gave.
        name: the domain.
        site_host: the name that such hosts are aliases of; empty: there is none.
        made: mail can be tracked here.

    Raises:
        Refusal: 422.
    """
    for field in ("open_tracking", "click_tracking"):
        if getattr(body, field) and not made:
            raise no_tracking(field)
    if not body.tracking_subdomain:
        return body.tracking_subdomain
    label = body.tracking_subdomain.strip().lower().removesuffix(f".{name}")
    if not made or not site_host:
        raise invalid(
            "Invalid `tracking_subdomain` field: this system has no host name that it could be an alias of "
            "(MAILWARREN_TRACKING_HOST or MAILWARREN_PUBLIC_URL)."
        )
    if not _LABELS.fullmatch(label) or len(label) + 1 + len(name) > MAX_NAME:
        raise invalid("Invalid `tracking_subdomain` field: give a name below the domain, such as `links`.")
    return label


def no_tracking(field: str) -> Refusal:
    """422: links could not be signed, or lead nowhere."""
    return invalid(
        f"Invalid `{field}` field: this system tracks nothing, because MAILWARREN_PUBLIC_URL or MAILWARREN_LINK_KEYS "
        "is not set. Its operator sets them."
    )


def check_return_path(label: str, name: str, *, bounce_host: str) -> str:
    """The labels of a return path below a domain.

    Args:
        label: what the caller gave.
        name: the domain.
        bounce_host: what takes bounces here; empty: nothing does.

    Raises:
        Refusal: 422.
    """
    label = label.strip().lower().removesuffix(f".{name}")
    if not bounce_host:
        raise invalid(
            "Invalid `custom_return_path` field: this system takes no bounces (MAILWARREN_BOUNCE_HOST is not set); "
            "mail goes out with the address of `from` as its envelope sender."
        )
    if not _LABELS.fullmatch(label) or len(label) + 1 + len(name) > MAX_NAME:
        raise invalid("Invalid `custom_return_path` field: give a name below the domain, such as `send` or `bounce`.")
    return label


def envelope_sender(name: str, return_path: str) -> str:
    """The address of MAIL FROM of a domain's mail."""
    return f"{BOUNCES}@{return_path}.{name}"


def domain_for(known: Mapping[str, SendingDomain], sender: str) -> SendingDomain | None:
    """The domain that signs for mail of ``sender``: itself, or the nearest one above it that DMARC takes for aligned.

    Args:
        known: a tenant's domains by their names.
        sender: the domain of the From address.
    """
    if (found := known.get(sender)) is not None:
        return found
    rest = sender
    while "." in rest:
        rest = rest.partition(".")[2]
        if (found := known.get(rest)) is not None:
            return None if found.strict else found
    return None


def no_data_keys() -> Refusal:
    """422: private keys could not be kept, or senders could not get at them."""
    return invalid(
        "Domains cannot be made here: this system has no keys for its data (MAILWARREN_DATA_KEYS) or no internal port "
        "(MAILWARREN_INTERNAL_TOKEN). Its operator sets them."
    )
