"""What a receiver checks of a request: that it is signed (Standard Webhooks), fresh, and what it tells. Pure."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

TOLERANCE = 300.0
"""Seconds that a request may be old, as the Standard Webhooks specification recommends."""
_PREFIX = "whsec_"


class Forged(ValueError):
    """The request is not what its webhook signed."""


class _Body(msgspec.Struct):
    type: str
    created_at: datetime
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """One event. ``age``: seconds since what it tells happened."""

    id: str
    type: str
    age: float


def read_request(headers: Mapping[str, str], body: bytes, secret: str, now: float) -> Told:
    """What a request tells.

    Args:
        headers: with names in lower case.
        body: as it came.
        secret: of the webhook, ``whsec_…``.
        now: Unix seconds.

    Raises:
        Forged: it is not signed with the secret, too old, or nothing that can be read.
    """
    ident, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not at.isdecimal() or abs(now - int(at)) > TOLERANCE:
        raise Forged(f"its timestamp is {at!r}")
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    signed = hmac.digest(key, f"{ident}.{at}.".encode() + body, hashlib.sha256)
    wanted = f"v1,{base64.b64encode(signed).decode()}"
    if not any(hmac.compare_digest(wanted, one) for one in headers.get("webhook-signature", "").split()):
        raise Forged("its signature is another")
    try:
        found = msgspec.json.decode(body, type=_Body)
    except msgspec.DecodeError as error:
        raise Forged(f"it cannot be read: {error}") from error
    return Told(ident, found.type, now - found.created_at.timestamp())
