"""Making links to unsubscribe, and reading them: pure, with the keys of ``MAILWARREN_LINK_KEYS``.

A token says whose mail it was, about which topic, by which call or broadcast, and to whom; see
:mod:`mailwarren.contracts.unsubscribe` for how it is signed. It has no end: RFC 8058 mail lies in mailboxes for years.
"""

import binascii
import hashlib
import hmac
from base64 import urlsafe_b64decode
from collections.abc import Sequence
from uuid import UUID

import msgspec

from mailwarren.contracts.unsubscribe import LISTS, MAC_SIZE, PATH, Unsubscribe, mac_of

VERSION = 1
"""The first octet of a token; another form would have another."""
MAX_TOKEN = 600
"""Characters: an address has at most 254."""
LEAST_KEY = 16
"""Characters of a key that nobody guesses."""

_MARK = 4
"""Octets that tell which key signed it."""
_HEAD = 1 + _MARK + 3 * 16
_PURPOSE = b"mailwarren unsubscribe links\n"


class Claim(msgspec.Struct, frozen=True):
    """What a token says. ``topic`` is :data:`~mailwarren.contracts.unsubscribe.LISTS` for mail without one.

    ``address`` is in lower case, whatever the mail was addressed with.
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
        secrets = [hashlib.sha256(_PURPOSE + key.encode()).digest() for key in keys]
        self._keys = {hashlib.sha256(secret).digest()[:_MARK]: secret for secret in secrets}
        self._mark = next(iter(self._keys), b"")

    @property
    def made(self) -> bool:
        """Whether mail to lists gets links."""
        return bool(self._base)

    def of(self, tenant: UUID, topic: UUID | None, source: UUID) -> Unsubscribe:
        """What the parcels of a call say: one HMAC, however many recipients it has."""
        if not self._base:
            return Unsubscribe(topic)
        ids = tenant.bytes + (topic or LISTS).bytes + source.bytes
        head = bytes((VERSION,)) + self._mark + ids
        return Unsubscribe(topic, self._base, head, _key_of(self._keys[self._mark], head))

    def read(self, token: str) -> Claim | None:
        """What a token says; None for everything that was not made here."""
        said = _decoded(token)
        if len(said) <= _HEAD + MAC_SIZE or said[0] != VERSION:
            return None
        head, mac = said[:_HEAD], said[-MAC_SIZE:]
        secret = self._keys.get(head[1 : 1 + _MARK])
        if secret is None or not hmac.compare_digest(mac_of(_key_of(secret, head), said[:-MAC_SIZE]), mac):
            return None
        tenant, topic, source = (UUID(bytes=head[at : at + 16]) for at in range(1 + _MARK, _HEAD, 16))
        return Claim(tenant, topic, source, said[_HEAD:-MAC_SIZE].decode().lower())


def split_keys(text: str) -> list[str]:
    """The keys of a setting: separated by spaces, commas or line breaks.

    Raises:
        ValueError: one is so short that it might be guessed.
    """
    keys = text.replace(",", " ").split()
    if any(len(key) < LEAST_KEY for key in keys):
        raise ValueError(f"give each key {LEAST_KEY} characters or more")
    return keys


def _key_of(secret: bytes, head: bytes) -> bytes:
    return hmac.digest(secret, head, hashlib.sha256)


def _decoded(token: str) -> bytes:
    if len(token) > MAX_TOKEN or not token.isascii():
        return b""
    try:
        return urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except (binascii.Error, ValueError):
        return b""
