"""Links to unsubscribe: what a parcel says of them, and what a sender makes of it for one address.

A link is ``<public URL>/u/<token>``; a token is the base64url of a *head* (whose mail, which topic, which call), the
address, and a MAC. The MAC's key is derived from the secret of ingest and the head, so that a parcel carries what
signs its own links and no others: a sender has no secret, and a mail costs one HMAC, wherever it is sent from.
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from uuid import UUID

import msgspec

LISTS = UUID(int=0)
"""Stands where a topic's id would for all that goes to lists, whatever it is about."""
MAC_SIZE = 16
"""Octets of a token's MAC, HMAC-SHA256 cut short (RFC 2104 §5)."""
PATH = "/u/"
"""Under which ingest answers links."""
VARIABLES = frozenset({"UNSUBSCRIBE_URL", "RESEND_UNSUBSCRIBE_URL"})
"""The names under which a content shows the link of its reader."""


class Unsubscribe(msgspec.Struct, frozen=True, omit_defaults=True):
    """That mail goes to a list: who is left out of it, and how its readers leave.

    ``topic`` is what it is about, if it has a topic. ``base`` is what stands before a token; empty where links are not
    made. ``head`` and ``key`` are the tokens' own.
    """

    topic: UUID | None = None
    base: str = ""
    head: bytes = b""
    key: bytes = b""

    def link(self, address: str) -> str:
        """The link of a reader; empty where links are not made."""
        if not self.base:
            return ""
        said = self.head + address.encode()
        token = urlsafe_b64encode(said + mac_of(self.key, said)).rstrip(b"=")
        return f"{self.base}{token.decode()}"


def mac_of(key: bytes, said: bytes) -> bytes:
    """The MAC of a token's head and address."""
    return hmac.digest(key, said, hashlib.sha256)[:MAC_SIZE]
