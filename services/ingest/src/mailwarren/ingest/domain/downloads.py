"""Links to download an attachment: whoever has one needs no API key, for an hour."""

import hashlib
import hmac
from uuid import UUID

LIFETIME = 3600
"""Seconds."""


def signing_key(secret: str) -> bytes:
    """The key of the links' signatures: from a secret that all processes of the API share, and of no other use."""
    return hashlib.sha256(b"mailwarren attachment links\n" + secret.encode()).digest()


def sign(key: bytes, place: tuple[UUID, UUID, UUID], expires: int) -> str:
    """The signature of a link to an attachment (tenant, email, its own id) until ``expires`` (Unix seconds)."""
    said = "/".join((*map(str, place), str(expires))).encode()
    return hmac.new(key, said, hashlib.sha256).hexdigest()


def link_holds(key: bytes, place: tuple[UUID, UUID, UUID], expires: str, signature: str, now: float) -> bool:
    """Whether a link was made by us and is not over."""
    if not (expires.isascii() and expires.isdigit() and len(expires) < 12):  # noqa: PLR2004 - as long as such numbers are
        return False
    made = sign(key, place, int(expires))
    return hmac.compare_digest(made.encode(), signature.encode()) and now < int(expires)
