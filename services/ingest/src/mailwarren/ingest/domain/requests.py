"""What the API takes: the bodies of requests as msgspec Structs.

Decoding checks types and names unknown fields; what the values mean is checked in :mod:`.validation`. The OpenAPI
document is made from these Structs. Fields of the public API that this version cannot honour are typed ``None``: a
value in them is refused by name (:mod:`.decoding`), never accepted and ignored.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.parcel import OnUnknown
from mailwarren.contracts.shaping import Scope
from mailwarren.contracts.tls import TlsNeed

NoneYet = (
    Annotated[tuple[()], Meta(description="Not supported yet: anything but an empty list or null is refused with 422.")]
    | None
)
Headers = dict[str, str] | Annotated[list[str], Meta(max_length=0)]
"""Names and values. PHP writes an empty map as ``[]``, and Laravel's transport sends one with each mail that has no
headers of its own, beside ``attachments: []``."""
Addresses = str | list[str]
Variables = dict[str, Any] | Annotated[list[str], Meta(max_length=0)]
"""By name; PHP writes an empty map as ``[]``."""
Moment = Annotated[
    datetime, Meta(tz=True, description="ISO 8601 with a time zone, in the future, at most 31 days ahead.")
]

ScheduledAt = Annotated[
    str,
    Meta(
        description="When to send: ISO 8601, or a phrase such as `in 1 hour`, `tomorrow at 9am`, `friday at 3pm ET`; "
        "UTC without a time zone; at most 30 days ahead."
    ),
]


_DEFAULTED = "Required, unless a `template` has a default for it, which it overrides."


class Permission(StrEnum):
    """What an API key may do."""

    FULL = "full_access"
    SENDING = "sending_access"


class TagBody(msgspec.Struct, forbid_unknown_fields=True):
    """A tag: ASCII letters, digits, ``_`` and ``-``, at most 256 characters each."""

    name: str
    value: str = ""


class TemplateRef(msgspec.Struct, forbid_unknown_fields=True):
    """A published template, and what fills it."""

    id: Annotated[str, Meta(description="The id or the alias of a published template.")]
    variables: Variables | None = None


class AttachmentBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A file: its octets in ``content``, or at a public address in ``path``."""

    content: Annotated[msgspec.Raw, Meta(description="Base64, or a list of bytes (numbers from 0 to 255).")] = (
        msgspec.field(default_factory=msgspec.Raw)
    )
    filename: Annotated[str | None, Meta(description="Without it, the last part of `path`.")] = None
    path: Annotated[str | None, Meta(description="An `https` or `http` address, fetched once, during the call.")] = None
    content_type: Annotated[str | None, Meta(description="Without it, by the extension of the name.")] = None
    content_id: Annotated[str | None, Meta(description="For a file that html shows with `cid:`.")] = None
    inline_content_id: Annotated[str | None, Meta(description="The same as `content_id`.")] = None


class Options(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What every kind of send takes beside addresses; all optional, and ours."""

    priority: Annotated[Lane | None, Meta(description="The lane; `normal`, for bulk calls `bulk`.")] = None
    expires_at: Annotated[Moment | None, Meta(description="Not sent after this moment.")] = None
    on_unknown: Annotated[OnUnknown | None, Meta(description="When a crash leaves the outcome unknown; `resend`.")] = (
        None
    )
    tls: Annotated[
        TlsNeed | None,
        Meta(
            description="Ours. `required`: not sent without TLS, whatever the certificate; a policy of the recipient's"
            " domain (DANE, MTA-STS) holds all the same. Null: as the site's row says."
        ),
    ] = None
    open_tracking: Annotated[
        bool | None, Meta(description="Ours. Whether opens are tracked; null: as the domain of `from` says.")
    ] = None
    click_tracking: Annotated[
        bool | None, Meta(description="Ours. Whether clicks on links in `html` are tracked; null: as the domain says.")
    ] = None
    reply_to: Addresses | None = None
    html: str | None = None
    text: str | None = None
    headers: Headers | None = None
    tags: list[TagBody] | None = None
    scheduled_at: ScheduledAt | None = None
    template: Annotated[TemplateRef | None, Meta(description="Instead of `html` and `text`.")] = None
    topic_id: Annotated[
        UUID | None,
        Meta(
            description="What it is about: who has left the topic, or all lists, gets none of it. With a link to leave."
        ),
    ] = None


class EmailBody(Options, forbid_unknown_fields=True, kw_only=True):
    """``POST /v1/emails``, and an element of ``POST /v1/emails/batch``."""

    from_: Annotated[str | None, Meta(description=_DEFAULTED)] = msgspec.field(name="from", default=None)
    to: Annotated[Addresses, Meta(description="An address or a list; `to`, `cc` and `bcc` together at most 50.")]
    subject: Annotated[str | None, Meta(description=_DEFAULTED)] = None
    cc: Addresses | None = None
    bcc: Addresses | None = None
    attachments: Annotated[list[AttachmentBody] | None, Meta(description="Not in a batch.")] = None
    metadata: Annotated[dict[str, str] | None, Meta(description="Kept with each delivery, shown in reads.")] = None


class EmailChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``PATCH /v1/emails/{id}``."""

    scheduled_at: ScheduledAt
    id: Annotated[str | None, Meta(description="As in the path; SDKs repeat it here.")] = None


class RecipientBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One recipient of a bulk mail."""

    to: str
    variables: Annotated[dict[str, Any] | None, Meta(description="For the template.")] = None
    metadata: dict[str, str] | None = None


class BulkBody(Options, forbid_unknown_fields=True, kw_only=True):
    """``POST /v1/emails/bulk``: one template, each recipient a mail of their own.

    ``subject``, ``html`` and ``text`` are Jinja2 templates over the recipient's variables; ``{{{NAME|fallback}}}``
    works too. ``template`` stands instead of ``html`` and ``text``; its ``variables`` are for every row, a row's own
    win. ``recipients`` stays raw here so that a row of a wrong type is an error of that row.
    """

    from_: Annotated[str | None, Meta(description=_DEFAULTED)] = msgspec.field(name="from", default=None)
    subject: Annotated[str | None, Meta(description=_DEFAULTED)] = None
    recipients: Annotated[list[msgspec.Raw], Meta(description="1 to 10,000 rows.")]
    attachments: NoneYet = None
    metadata: Annotated[dict[str, str] | None, Meta(description="For every row; a row's own wins.")] = None


class ApiKeyBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``POST /v1/api-keys``."""

    name: Annotated[str, Meta(description="1 to 50 characters.")]
    permission: Permission | None = None
    domains: Annotated[
        list[str] | None,
        Meta(description="Domains that `from` may have, compared exactly (no subdomains). Null: any."),
    ] = None
    domain_id: Annotated[
        UUID | None, Meta(description="One of `GET /v1/domains`: the key may send from that domain only.")
    ] = None


class ApiKeyChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``PATCH /v1/api-keys/{id}``."""

    name: str


class ShapingBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``POST /v1/shaping``: ``suspend``, or ``rate`` and ``connections`` over all senders."""

    scope: Scope = Scope.SITE
    name: Annotated[str, Meta(description="A site as `GET /v1/shaping` names it, or a tenant's id.")]
    suspend: bool | None = None
    rate: Annotated[
        float | str | None, Meta(description="Mails a second, or `10/min`; holds where it is lower than the row's.")
    ] = None
    connections: Annotated[int | None, Meta(description="Holds where it is lower than the row's.")] = None
    for_: Annotated[float | str, Meta(description="`30m`, `2h`, or seconds; at most 24 h.")] = msgspec.field(name="for")
    reason: Annotated[str | None, Meta(description="For those who see it; at most 300 characters.")] = None


class ReplayBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``POST /v1/dead/replay``: some dead letters by their ids, or all."""

    ids: Annotated[list[UUID] | None, Meta(description="1 to 100 of `GET /v1/dead`.")] = None
    all: Annotated[bool | None, Meta(description="All of them, up to 500 a call: `left` says how many remain.")] = None
