"""API key tokens: ``mw_`` and 32 base62 characters (190 bits)."""

import hashlib
from collections.abc import Callable, Sequence

PREFIX = "mw_"
SECRET_LENGTH = 32
SHOWN = 8
"""Characters of a token, ``mw_`` included, that are kept in clear so that a person can tell keys apart."""
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def new_token(choose: Callable[[Sequence[str]], str]) -> str:
    """A fresh token; ``choose`` is :func:`secrets.choice`."""
    return PREFIX + "".join(choose(_BASE62) for _ in range(SECRET_LENGTH))


def token_hash(token: str) -> bytes:
    """What is stored and looked up.

    SHA-256 without salt or stretching is right here: a token is 190 random bits, so neither a dictionary nor a
    rainbow table can find it from its hash, and a slow hash would only cost every request its time.
    """
    return hashlib.sha256(token.encode()).digest()


def shown_prefix(token: str) -> str:
    """The part of a token that lists show."""
    return token[:SHOWN]
