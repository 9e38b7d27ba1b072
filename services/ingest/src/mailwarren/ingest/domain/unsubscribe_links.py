"""Making links to unsubscribe, and reading them: pure, with the keys of ``MAILWARREN_LINK_KEYS``.

A token says whose mail it was, about which topic, by which call or broadcast, and to whom; see
:mod:`mailwarren.contracts.unsubscribe` for how it is signed. It has no end: RFC 8058 mail lies in mailboxes for years.
"""

import hmac
from collections.abc import Sequence
from uuid import UUID

import msgspec

from mailwarren.contracts.address_key import address_key
from mailwarren.contracts.unsubscribe import LISTS, MAC_SIZE, PATH, Unsubscribe, mac_of
from mailwarren.ingest.domain.link_keys import MARK_SIZE, LinkKeys, token_octets

VERSION = 1
"""The first octet of a token; another form would have another."""
MAX_TOKEN = 600
"""Characters: an address has at most 254 octets."""

_HEAD = 1 + MARK_SIZE + 3 * 16
_PURPOSE = b"mailwarren unsubscribe links\n"


class Claim(msgspec.Struct, frozen=True):
    """What a token says. ``topic`` is :data:`~mailwarren.contracts.unsubscribe.LISTS` for mail without one.

    ``address`` is the key of what the mail was addressed with.
    """

    tenant: UUID
    topic: UUID
    source: UUID
    address: str


class Links:
    """Makes links, and knows them again.

    Args:
        public_url: what stands before ``/u/``; without it, or without keys, no links are made.
        keys: secrets; the first signs, and what any of them has signed holds.
    """

    def __init__(self, public_url: str = "", keys: Sequence[str] = ()) -> None:
        self._base = f"{public_url}{PATH}" if public_url and keys else ""
        self._keys = LinkKeys(_PURPOSE, keys)

    @property
    def made(self) -> bool:
        """Whether mail to lists gets links."""
        return bool(self._base)

    def of(self, tenant: UUID, topic: UUID | None, source: UUID) -> Unsubscribe:
        """What the parcels of a call say: one HMAC, however many recipients it has."""
        mark = self._keys.mark
        head = bytes((VERSION,)) + mark + tenant.bytes + (topic or LISTS).bytes + source.bytes
        key = self._keys.key_for(mark, head) if self._base else None
        return Unsubscribe(topic) if key is None else Unsubscribe(topic, self._base, head, key)

    def read(self, token: str) -> Claim | None:
        """What a token says; None for everything that was not made here."""
        said = token_octets(token, MAX_TOKEN)
        if len(said) <= _HEAD + MAC_SIZE or said[0] != VERSION:
            return None
        head, mac = said[:_HEAD], said[-MAC_SIZE:]
        key = self._keys.key_for(head[1 : 1 + MARK_SIZE], head)
        if key is None or not hmac.compare_digest(mac_of(key, said[:-MAC_SIZE]), mac):
            return None
        tenant, topic, source = (UUID(bytes=head[at : at + 16]) for at in range(1 + MARK_SIZE, _HEAD, 16))
        return Claim(tenant, topic, source, address_key(said[_HEAD:-MAC_SIZE].decode()))
