"""The keys that senders sign with, as ingest's internal HTTP hands them out (RFC 6376, RFC 8463).

``GET`` :func:`keys_path` with the internal token: 200 with :class:`SigningKeys` as JSON, 404 when the tenant has no
such domain or the domain no key in force. Both sides run in two releases at once, as with messages (ADR 0019): fields
are only added, with defaults; a sender passes over a key whose algorithm it does not know.
"""

from typing import Final
from urllib.parse import quote
from uuid import UUID

import msgspec

RSA: Final = "rsa-sha256"
ED25519: Final = "ed25519-sha256"
"""The algorithms, as ``a=`` says them."""


class SigningKey(msgspec.Struct, frozen=True):
    """A key in force: where its public half stands (``<selector>._domainkey.<domain>``), and its private half.

    ``algorithm`` is :data:`RSA` or :data:`ED25519`. ``private`` is PKCS #8 in DER, base64 in JSON; it is shown in no
    log and no traceback.
    """

    selector: str
    algorithm: str
    private: bytes

    def __repr__(self) -> str:
        return f"SigningKey(selector={self.selector!r}, algorithm={self.algorithm!r})"


class SigningKeys(msgspec.Struct, frozen=True, omit_defaults=True):
    """What mail of a domain is signed with: one signature for each key.

    ``domain`` is the ``d=`` of the signatures. Until ``fresh_until`` (Unix seconds) the answer may be used without
    asking again; a sender asks before that. ``envelope_sender`` is the domain's, for who wants to show it: what a mail
    is sent with stands in its parcel.
    """

    domain: str
    keys: tuple[SigningKey, ...]
    fresh_until: float
    envelope_sender: str | None = None


_decoder = msgspec.json.Decoder(SigningKeys)


def keys_path(tenant: UUID, domain: str) -> str:
    """The path and query of a domain's keys on ingest's internal HTTP: two tenants may have a domain each."""
    return f"/internal/dkim/{quote(domain, safe='')}?tenant={tenant}"


def encode_keys(keys: SigningKeys) -> bytes:
    """The body of the answer."""
    return msgspec.json.encode(keys)


def decode_keys(body: bytes) -> SigningKeys:
    """What the answer says.

    Raises:
        ValueError: it is no such answer. The text holds nothing of the body.
    """
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError("not the keys of a domain") from None
