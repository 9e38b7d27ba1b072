"""What a call asks to send, after validation: values that can be cut into parcels as they are.

They are msgspec's Structs although nothing encodes them: a bulk call makes 30,000 of them, and a frozen dataclass takes
five times as long to make. ``gc=False`` because they are in no cycle, and a collection would visit them all.
"""

from typing import Any
from uuid import UUID

import msgspec

from mailwarren.contracts.address_key import address_key
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.parcel import Content, OnUnknown, Role


class Recipient(msgspec.Struct, frozen=True, gc=False):
    """One address of an email. ``address`` is the envelope's, ``mailbox`` the header's."""

    address: str
    mailbox: str
    role: Role = Role.TO
    variables: dict[str, Any] = {}
    metadata: dict[str, str] = {}

    @property
    def key(self) -> str:
        """What the address is compared by."""
        return address_key(self.address)


class SendEmail(msgspec.Struct, frozen=True, gc=False):
    """One email, checked. Each address occurs once.

    ``expires_at`` is Unix seconds; ``scheduled_at`` stands as the caller wrote it: it takes a clock to be understood.
    ``topic`` is the id of what it is about, if it has a topic.

    The rows of a bulk call are emails of one recipient each that share one ``content`` object.
    """

    content: Content
    sender_domain: str
    recipients: tuple[Recipient, ...]
    lane: Lane
    expires_at: float | None = None
    on_unknown: OnUnknown = OnUnknown.RESEND
    scheduled_at: str | None = None
    topic: UUID | None = None


class Numbered(msgspec.Struct, frozen=True, gc=False):
    """An email with the place it had in the request and the id that it will be known by."""

    index: int
    id: UUID
    email: SendEmail


class RowError(msgspec.Struct, frozen=True):
    """Why the row at ``index`` was not accepted."""

    index: int
    message: str
