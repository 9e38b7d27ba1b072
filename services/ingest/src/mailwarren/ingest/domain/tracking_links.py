"""Addresses of pixels and links: what parcels say of them, and what their tokens say. Pure.

How they are signed stands in :mod:`mailwarren.contracts.tracking`. They have no end: a mail lies in a mailbox for
years, and its links must lead somewhere.
"""

import hmac
import struct
from collections.abc import Sequence
from urllib.parse import urlsplit
from uuid import UUID

import msgspec

from mailwarren.contracts.tracking import CLICK, LONGEST_LINK, Tracking
from mailwarren.contracts.unsubscribe import MAC_SIZE, mac_of
from mailwarren.ingest.domain.link_keys import MARK_SIZE, LinkKeys, token_octets

VERSION = 1
"""The first octet of a token; another form would have another."""

_HEAD = struct.Struct(f">B{MARK_SIZE}s16sBI")
_IDS = struct.Struct(">16s16s1s")
_LEAST = _HEAD.size + _IDS.size + MAC_SIZE
MAX_TOKEN = (_LEAST + LONGEST_LINK) * 4 // 3 + 2
"""Characters."""
_PURPOSE = b"mailwarren tracking links\n"


class Visit(msgspec.Struct, frozen=True):
    """What a token says: whose mail it is, and where the link leads (None: it is a pixel).

    ``accepted_at`` is in whole Unix seconds; ``partition`` is the one that the mail's events go through.
    """

    tenant: UUID
    email_id: UUID
    delivery: UUID
    partition: int
    accepted_at: float
    link: str | None = None


class TrackingLinks:
    """Says how mail is tracked, and knows its addresses again.

    Args:
        public_url: what stands before ``/t/`` in mail from domains without a host of their own; without it, or without
            keys, nothing is tracked.
        keys: secrets; the first signs, and what any of them has signed holds.
    """

    def __init__(self, public_url: str = "", keys: Sequence[str] = ()) -> None:
        self._base = public_url
        self._scheme = urlsplit(public_url).scheme or "https"
        self._keys = LinkKeys(_PURPOSE, keys)
        self.made = bool(public_url and keys)
        """Whether mail can be tracked here."""

    def of(self, tenant: UUID, partition: int, accepted_at: float, host: str | None) -> Tracking:
        """What the mails of a call have in common; ``host`` is their domain's own, if it has one.

        ``opens`` and ``clicks`` are for the caller to set.
        """
        mark = self._keys.mark
        head = _HEAD.pack(VERSION, mark, tenant.bytes, partition, int(accepted_at))
        key = self._keys.key_for(mark, head) if self.made else None
        if key is None:
            return Tracking()
        return Tracking(base=f"{self._scheme}://{host}" if host else self._base, head=head, key=key)

    def read(self, token: str, use: bytes) -> Visit | None:
        """What a token for this use says; None for everything that was not made here."""
        said = token_octets(token, MAX_TOKEN)
        if len(said) < _LEAST or said[0] != VERSION:
            return None
        head, body, mac = said[: _HEAD.size], said[:-MAC_SIZE], said[-MAC_SIZE:]
        _, mark, tenant, partition, accepted_at = _HEAD.unpack(head)
        key = self._keys.key_for(mark, head)
        if key is None or not hmac.compare_digest(mac_of(key, body), mac):
            return None
        email, delivery, signed_use = _IDS.unpack_from(body, _HEAD.size)
        if signed_use != use:
            return None
        url = body[_HEAD.size + _IDS.size :]
        return Visit(
            tenant=UUID(bytes=tenant),
            email_id=UUID(bytes=email),
            delivery=UUID(bytes=delivery),
            partition=partition,
            accepted_at=float(accepted_at),
            link=url.decode() if use == CLICK else None,
        )


def asked(opens: bool | None, clicks: bool | None) -> Tracking | None:  # noqa: FBT001 - as the fields of a call
    """What a call says of tracking, to stand in its content until it is accepted; None when it says nothing."""
    return None if opens is None and clicks is None else Tracking(opens, clicks)


def own_host(public_url: str, setting: str = "") -> str:
    """The name that tenants point the hosts of their links to: the setting, or the public host if it is a name."""
    host = setting or urlsplit(public_url).hostname or ""
    return "" if ":" in host or host.replace(".", "").isdigit() or "." not in host else host.lower().rstrip(".")
