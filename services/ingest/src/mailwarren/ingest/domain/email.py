"""What a call asks to send, after validation: values that can be cut into parcels as they are."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.parcel import Content, OnUnknown, Role


@dataclass(frozen=True, slots=True)
class Recipient:
    """One address of an email. ``address`` is the envelope's, ``mailbox`` the header's."""

    address: str
    mailbox: str
    role: Role = Role.TO
    variables: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SendEmail:
    """One email, checked. Each address occurs once. ``expires_at`` is Unix seconds.

    The rows of a bulk call are emails of one recipient each that share one ``content`` object.
    """

    content: Content
    sender_domain: str
    recipients: tuple[Recipient, ...]
    lane: Lane
    expires_at: float | None = None
    on_unknown: OnUnknown = OnUnknown.RESEND


@dataclass(frozen=True, slots=True)
class Numbered:
    """An email with the place it had in the request and the id that it will be known by."""

    index: int
    id: UUID
    email: SendEmail


@dataclass(frozen=True, slots=True)
class RowError:
    """Why the row at ``index`` was not accepted."""

    index: int
    message: str
