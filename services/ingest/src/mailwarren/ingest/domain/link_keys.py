"""The keys that public links are signed with (``MAILWARREN_LINK_KEYS``): one secret each for each kind of link."""

import binascii
import hashlib
import hmac
from base64 import urlsafe_b64decode
from collections.abc import Sequence

MARK_SIZE = 4
"""Octets of a token that tell which key signed it."""
LEAST_KEY = 16
"""Characters of a key that nobody guesses."""


class LinkKeys:
    """The keys of one kind of link: the first signs, and what any of them has signed holds.

    Args:
        purpose: tells the kinds apart: a token of one is none of another.
        keys: secrets.
    """

    def __init__(self, purpose: bytes, keys: Sequence[str]) -> None:
        secrets = [hashlib.sha256(purpose + key.encode()).digest() for key in keys]
        self._secrets = {hashlib.sha256(secret).digest()[:MARK_SIZE]: secret for secret in secrets}
        self.mark = next(iter(self._secrets), b"")
        """Of the key that signs; empty where there is none."""

    def key_for(self, mark: bytes, head: bytes) -> bytes | None:
        """What signs tokens with this head; None when there is no key with this mark."""
        secret = self._secrets.get(mark)
        return None if secret is None else hmac.digest(secret, head, hashlib.sha256)


def split_keys(text: str) -> list[str]:
    """The keys of a setting: separated by spaces, commas or line breaks.

    Raises:
        ValueError: one is so short that it might be guessed.
    """
    keys = text.replace(",", " ").split()
    if any(len(key) < LEAST_KEY for key in keys):
        raise ValueError(f"give each key {LEAST_KEY} characters or more")
    return keys


def token_octets(token: str, longest: int) -> bytes:
    """What a token says; empty when it is none."""
    if len(token) > longest or not token.isascii():
        return b""
    try:
        return urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except (binascii.Error, ValueError):
        return b""
