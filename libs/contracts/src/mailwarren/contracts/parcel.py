"""Parcels: what travels to the senders.

A :class:`Parcel` is one AMQP message and one ack: 1 to 50 deliveries of one lane, shard and partition that share
one :class:`Content`.
"""

from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.reply import Reply
from mailwarren.contracts.tls import TlsNeed, TlsSession
from mailwarren.contracts.tracking import Tracking
from mailwarren.contracts.unsubscribe import Unsubscribe

PARCEL_SIZE = 50
"""Deliveries in a parcel at most: one ack for 50, and one kill repeats questions for at most 50."""


class Syntax(StrEnum):
    """How to read the content: as it stands, or as a template with each delivery's variables."""

    LITERAL = "literal"
    TEMPLATE = "template"


class OnUnknown(StrEnum):
    """What to do with a delivery whose outcome a crash left unknown."""

    RESEND = "resend"
    HOLD = "hold"
    FAIL = "fail"


class Role(StrEnum):
    """In which header field the API call named the address; ``bcc`` shows in none (RFC 5322 §3.6.3)."""

    TO = "to"
    CC = "cc"
    BCC = "bcc"


class Wait(StrEnum):
    """Why a parcel is on the ladder."""

    DEFERRED = "deferred"
    """An attempt was made and is to be repeated: the tracker records it."""
    HOP = "hop"
    """A longer wait goes on over the next rung."""
    UNSETTLED = "unsettled"
    """The tracker has not answered yet."""
    CLAIMED = "claimed"
    """Another copy of the parcel is being worked on."""
    NEWER = "newer"
    """Written by a newer version than this sender."""
    SHAPED = "shaped"
    """For limits of the site or the tenant. Read, and not written yet: the release before does not know it
    (:data:`SHAPED_WAIT`)."""
    ATTACHMENTS = "attachments"
    """Its attachments cannot be fetched now."""
    KEYS = "keys"
    """The keys that its mail is signed with cannot be had now. Stands only in parcels of a version that the release
    before does not read (:data:`mailwarren.contracts.codec.WITH_NEEDS`)."""


SHAPED_WAIT = Wait.HOP
"""What a parcel that waits for limits says until the release before this one reads :attr:`Wait.SHAPED` (ADR 0019): a
value that it does not know would be no parcel to it. ``Parcel.shaped`` tells such a wait from a hop."""


class Mark(msgspec.Struct, frozen=True):
    """A tag of an email as the API takes it."""

    name: str
    value: str = ""


class Attachment(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file of a mail: what its headers say, and the blob that holds its ``size`` octets.

    ``digest`` is the blob's SHA-256 in lower-case hexadecimal. A ``content_id`` (without angle brackets) makes it
    inline: the html shows it with ``cid:``.
    """

    filename: str
    content_type: str
    digest: str
    size: int
    content_id: str | None = None


class Content(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a mail says. Mailboxes are RFC 5322 text: ``Ada <ada@example.org>`` or a bare address.

    ``to`` is empty for bulk: there each delivery's own mailbox stands in the To field. ``bcc`` is kept for the
    record only and reaches no header.
    ``signing`` is the domain that the mail is signed for (``d=``, RFC 6376 §3.5), in lower case and A-labels; such mail
    is never sent unsigned. None: it goes unsigned. ``envelope_sender`` is the address of MAIL FROM (RFC 5321 §3.3);
    None: that of ``sender``. ``tls`` is how much TLS the mail asks for. ``tracking`` is what of it is tracked; a sender
    that does not know it would send the mail without.
    """

    sender: str
    subject: str = ""
    html: str | None = None
    text: str | None = None
    to: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    reply_to: tuple[str, ...] = ()
    headers: dict[str, str] = {}
    tags: tuple[Mark, ...] = ()
    syntax: Syntax = Syntax.LITERAL
    attachments: tuple[Attachment, ...] = ()
    signing: str | None = None
    envelope_sender: str | None = None
    tls: TlsNeed | None = None
    tracking: Tracking | None = None


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one try over SMTP ended, as the sender saw it. Times are Unix seconds, ``duration`` seconds.

    ``reply`` is the server's, ``trouble`` our own words when no reply decided it (no connection, no DNS).
    ``tls`` is the version and cipher of its connection, None in the clear; ``tls_policy`` the rule that its TLS had to
    keep: ``dane``, ``mta-sts`` or ``mta-sts testing`` of the recipient's domain, ``required`` or ``verify``; none for
    ``mta-sts unavailable``, where the domain has a policy that could not be had.
    ``sessions`` are the negotiations that were made for it. ``egress`` is what it was sent from, empty where none are
    named.
    """

    number: int
    at: float
    reply: Reply | None = None
    trouble: str | None = None
    bounce_class: str | None = None
    site: str = ""
    host: str = ""
    duration: float = 0.0
    tls: str | None = None
    tls_policy: str | None = None
    sessions: tuple[TlsSession, ...] = ()
    egress: str = ""


class Setback(msgspec.Struct, frozen=True, omit_defaults=True):
    """A try that came to nothing: when (Unix seconds), at which sender, and why. For a person who looks at it."""

    at: float
    sender: str
    reason: str


class Delivery(msgspec.Struct, frozen=True, omit_defaults=True):
    """One address of an email: the unit of the ledger.

    ``to`` is the envelope address (RFC 5321 mailbox, domain in lower case), ``mailbox`` how it is shown,
    ``message_id`` the Message-ID without angle brackets, equal in every attempt. ``last`` is the attempt that put
    the parcel on the ladder. ``signature`` is what it was signed with, ``selector:seconds:base64`` for each key with a
    space between: the rest of a DKIM-Signature field follows from the mail.
    """

    id: UUID
    email_id: UUID
    to: str
    message_id: str
    mailbox: str = ""
    role: Role = Role.TO
    variables: dict[str, Any] = {}
    metadata: dict[str, str] = {}
    suppressed: bool = False
    last: Attempt | None = None
    signature: str | None = None


class Parcel(msgspec.Struct, frozen=True, omit_defaults=True):
    """1 to 50 deliveries that share a content, and where they stand. Times are Unix seconds.

    ``attempt`` numbers the try to be made next, from 1. ``not_before`` is when it is due. ``settle`` asks for a
    question to the tracker before anything is sent (a keyed call, of which there may be two copies). ``turn`` counts
    the changes of custody that are not new attempts, so that the tracker can tell the newer holder of a parcel from a
    copy of it.
    ``shaped`` counts its waits for limits since the last attempt, which cost no attempt.
    ``created_at`` is when the API was asked for it, where that was before it was accepted: scheduled mail.
    ``broadcast`` is the broadcast that it is a part of: the tracker notes it, and a cancel of it is one of the parcel.
    ``asked_at`` is when the first unanswered question of this attempt was put. ``trace`` is a W3C ``traceparent``: the
    trace of the API call, and what in it this parcel comes from.
    ``returned`` counts how often the broker had to give this attempt to another sender in messages before this one, and
    ``begun`` the senders that began its mail and were gone before they had finished it: such mail may kill senders.
    ``setbacks`` says why each try so far came to nothing, the oldest first. ``unsubscribe`` is there when the mail goes
    to a list.
    """

    id: UUID
    tenant: UUID
    lane: Lane
    shard: str
    partition: int
    content: Content
    deliveries: tuple[Delivery, ...]
    accepted_at: float
    request_id: UUID | None = None
    expires_at: float | None = None
    on_unknown: OnUnknown = OnUnknown.RESEND
    attempt: int = 1
    not_before: float | None = None
    wait: Wait | None = None
    settle: bool = False
    turn: int = 0
    asked_at: float | None = None
    trace: str | None = None
    shaped: int = 0
    returned: int = 0
    begun: int = 0
    setbacks: tuple[Setback, ...] = ()
    created_at: float | None = None
    broadcast: UUID | None = None
    unsubscribe: Unsubscribe | None = None
