"""Signatures of Standard Webhooks (symmetric, ``v1``): HMAC-SHA256 over ``id.timestamp.body``.

The same three headers go out under two names: ``webhook-*`` of the specification, and ``svix-*``, which the public
API's SDKs read.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from uuid import UUID


def signed_headers(ident: UUID, at: int, body: bytes, keys: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """The headers of a request.

    Args:
        ident: of the event: the same on every try.
        at: when the try is made, Unix seconds; receivers refuse what is older than some minutes.
        body: the payload.
        keys: all that are in force; the receiver needs to know one of them.
    """
    name, moment = str(ident).encode(), str(at).encode()
    content = b".".join((name, moment, body))
    marks = [b"v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()) for key in keys]
    values = {b"id": name, b"timestamp": moment, b"signature": b" ".join(marks)}
    return [(f"{form}-".encode() + key, value) for form in ("webhook", "svix") for key, value in values.items()]
