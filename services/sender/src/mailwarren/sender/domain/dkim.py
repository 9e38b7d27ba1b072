"""DKIM: which octets of a mail a signature covers, and the field that carries it (RFC 6376; Ed25519: RFC 8463).

Relaxed canonicalisation of header and body, the whole body, no expiry, and ``i=`` left at ``@d``. A mail gets a
signature for each key. All octets come as they go over the wire, dots not yet stuffed; keys do the arithmetic.
"""

import hashlib
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

OVERSIGNED = ("from", "reply-to", "subject", "date", "to", "cc", "message-id")
"""Named in ``h=`` once more than the mail has them, so that nobody can add one (RFC 6376 §5.4.2, §8.15)."""
OVERSIGNED_IF_THERE = frozenset(
    {
        "sender",
        "mime-version",
        "content-type",
        "content-transfer-encoding",
        "list-unsubscribe",
        "list-unsubscribe-post",
    }
)
"""The same where the mail has them. Where it has not, a mailing list may add them and break nothing."""
UNSIGNED = frozenset({"return-path", "received", "dkim-signature"})
"""Not to be signed: every server on the way adds some (RFC 6376 §5.4). All others are, those of the caller too."""

# What may stand in h=, which ends at a semicolon; a stranger name is left out of the signature.
_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_NAMES_WIDTH = 70
_VALUE_WIDTH = 72
_KEPT = re.compile(r"([A-Za-z0-9._-]+):([0-9]{1,12}):([A-Za-z0-9+/=]+)")


class Key(Protocol):
    """A private key and where its public half stands."""

    @property
    def selector(self) -> str:
        """``s=``."""

    @property
    def algorithm(self) -> str:
        """``a=``."""

    def sign(self, data: bytes) -> bytes:
        """The signature of ``data``, hashed as the algorithm has it."""

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether ``signature`` is one of ``data`` by this key."""


@dataclass(frozen=True, slots=True)
class Signed:
    """The signatures of a mail.

    Attributes:
        fields: The DKIM-Signature fields, which go before all others.
        kept: What a later attempt makes the same fields of (``Delivery.signature``).
        made: The algorithms of those that were made just now.
        reused: The algorithms of those that were kept from an attempt before.
    """

    fields: bytes
    kept: str
    made: tuple[str, ...]
    reused: tuple[str, ...]


def sign_mail(
    head: bytes, body_hash: str, *, domain: str, keys: Sequence[Key], now: int, kept: str | None = None
) -> Signed:
    """Sign a mail with each of ``keys``.

    A kept signature is used again where it still fits: its key is in force, and the mail is the one that it was made
    for. Another release of ours may build it otherwise.

    Args:
        head: The header fields, each with its line end, without the empty line.
        body_hash: Of :func:`hash_body`.
        domain: ``d=``.
        keys: Those in force.
        now: Unix seconds, ``t=``.
        kept: Of an attempt before.
    """
    names, octets = select_fields(head)
    before = {selector: (int(at), value) for selector, at, value in _KEPT.findall(kept or "")}
    fields, keep = [], []
    made: list[str] = []
    reused: list[str] = []
    for key in keys:
        at, value = before.get(key.selector, (now, ""))
        field = _field(key, domain, at, names, body_hash)
        if value and key.verifies(_decoded(value), octets + _relaxed_field(field)):
            reused.append(key.algorithm)
        else:
            at, field = now, _field(key, domain, now, names, body_hash)
            value = b64encode(key.sign(octets + _relaxed_field(field))).decode()
            made.append(key.algorithm)
        fields.append(field + _folded_value(value))
        keep.append(f"{key.selector}:{at}:{value}")
    return Signed("".join(fields).encode(), " ".join(keep), tuple(made), tuple(reused))


def select_fields(head: bytes) -> tuple[str, bytes]:
    """The value of ``h=``, and the fields that it names in canonical form (RFC 6376 §3.4.2, §5.4.2).

    Of several fields with one name the last is taken first, as verifiers do.
    """
    found: dict[str, list[bytes]] = {}
    for line in _relaxed_lines(head.replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ")).split(b"\r\n"):
        name, colon, value = line.partition(b":")
        key = name.rstrip(b" ").lower().decode("ascii", "replace")
        if colon and key not in UNSIGNED and _NAME.fullmatch(key):
            found.setdefault(key, []).append(value.strip(b" "))
    names: list[str] = []
    octets: list[bytes] = []
    for key, values in found.items():
        names += [key] * (len(values) + (key in OVERSIGNED or key in OVERSIGNED_IF_THERE))
        octets += [b"%b:%b\r\n" % (key.encode(), value) for value in reversed(values)]
    names += [key for key in OVERSIGNED if key not in found]
    return ":".join(names), b"".join(octets)


def hash_body(parts: Iterable[bytes | memoryview]) -> str:
    """``bh=`` of a body in parts that each end with a line (RFC 6376 §3.4.4).

    Those in memoryviews hold lines of base64, which are canonical as they are. Only the last part, none of those, may
    end with empty lines.
    """
    digest = hashlib.sha256()
    last = b""
    for part in parts:
        digest.update(last)
        if isinstance(part, memoryview):
            digest.update(part)
            last = b""
        else:
            last = _relaxed_lines(part)
    end = last.rstrip(b"\r\n")
    digest.update(end + b"\r\n" if end else b"")
    return b64encode(digest.digest()).decode()


def _relaxed_lines(lines: bytes) -> bytes:
    """Runs of white space are one space, and at the end of a line none."""
    if b"\t" in lines:
        lines = lines.replace(b"\t", b" ")
    while b"  " in lines:
        lines = lines.replace(b"  ", b" ")
    return lines.replace(b" \r\n", b"\r\n")


def _field(key: Key, domain: str, at: int, names: str, body_hash: str) -> str:
    """The field up to its last tag, whose value is the signature."""
    return (
        f"DKIM-Signature: v=1; a={key.algorithm}; c=relaxed/relaxed;\r\n d={domain};\r\n s={key.selector}; t={at};\r\n"
        f" bh={body_hash};\r\n h={_folded_names(names)};\r\n b="
    )


def _relaxed_field(field: str) -> bytes:
    """The same in canonical form, without line end (RFC 6376 §3.7): it has no two spaces together."""
    return field.replace("DKIM-Signature: ", "dkim-signature:", 1).replace("\r\n ", " ").encode()


@lru_cache(maxsize=256)
def _folded_names(names: str) -> str:
    lines = [""]
    for name in names.split(":"):
        if lines[-1] and len(lines[-1]) + len(name) > _NAMES_WIDTH:
            lines.append("")
        lines[-1] += f"{name}:"
    return "\r\n ".join(lines)[:-1]


def _folded_value(value: str) -> str:
    return "\r\n ".join(value[at : at + _VALUE_WIDTH] for at in range(0, len(value), _VALUE_WIDTH)) + "\r\n"


def _decoded(value: str) -> bytes:
    try:
        return b64decode(value, validate=True)
    except ValueError:
        return b""
