"""Answers of ``/v1/domains``."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from mailwarren.store.states import DomainState, KeyState


class RecordShown(msgspec.Struct, frozen=True, kw_only=True):
    """A DNS record to publish. ``needed``, ``found``, ``problem``, ``key`` and ``keep_until`` are ours."""

    record: Annotated[str, Meta(description="`DKIM`, `SPF` (the MX record for bounces too), `DMARC` or `Tracking`.")]
    name: Annotated[str, Meta(description="The whole name, without a dot at its end.")]
    type: str
    ttl: str = "Auto"
    status: Annotated[DomainState, Meta(description="What the last look at the DNS found.")]
    value: str
    priority: int | UnsetType = UNSET
    needed: Annotated[bool, Meta(description="Whether the domain is verified only with it.")]
    found: Annotated[list[str], Meta(description="What the DNS said, aliases (CNAME) first.")]
    problem: Annotated[str | None, Meta(description="What is wrong with that.")]
    key: Annotated[
        KeyState | None,
        Meta(description="Of a DKIM key: `active` signs; `next` will, once this record is seen; `retired` did."),
    ]
    keep_until: Annotated[datetime | None, Meta(description="Do not remove the record of a retired key before.")]


class AlignmentShown(msgspec.Struct, frozen=True, kw_only=True):
    """How DMARC takes mail from the domain itself (RFC 7489 §3.1)."""

    policy: Annotated[str | None, Meta(description="`p=` of the record that holds; null: there is none.")]
    record: Annotated[str | None, Meta(description="The name that it was found at.")]
    dkim: Annotated[bool, Meta(description="Whether the signature is aligned with From.")]
    spf: Annotated[bool, Meta(description="Whether the envelope sender is.")]
    subdomains: Annotated[bool, Meta(description="Whether mail from subdomains is aligned by this domain's signature.")]


class DomainMade(msgspec.Struct, frozen=True, kw_only=True):
    """A new domain. Fields from ``tls`` on, and ``object``, are not in the types of the Python SDK."""

    object: str = "domain"
    id: UUID
    name: str
    created_at: datetime
    status: DomainState
    region: str
    records: list[RecordShown]
    open_tracking: bool = False
    click_tracking: bool = False
    tracking_subdomain: str | UnsetType = UNSET
    tls: str
    custom_return_path: Annotated[str | None, Meta(description="Null: the From address is the envelope sender.")]
    envelope_sender: Annotated[
        str | None, Meta(description="MAIL FROM of mail, once the records of the return path are there.")
    ]
    checked_at: datetime | None
    alignment: Annotated[AlignmentShown | None, Meta(description="Null: not looked at yet.")]


class DomainShown(DomainMade, frozen=True, kw_only=True):
    """A domain."""

    deleted: bool = False


class DomainShort(msgspec.Struct, frozen=True, kw_only=True):
    """A domain in a list, or one that was deleted."""

    object: str = "domain"
    id: UUID
    name: str
    created_at: datetime
    status: DomainState
    region: str
    records: Annotated[None, Meta(description="Shown by `GET /v1/domains/{id}`.")] = None
    deleted: bool = False
    open_tracking: bool = False
    click_tracking: bool = False
    tracking_subdomain: str | UnsetType = UNSET


class DomainList(msgspec.Struct, frozen=True, kw_only=True):
    """A page, newest first."""

    object: str = "list"
    has_more: bool
    data: list[DomainShort]
