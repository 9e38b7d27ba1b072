"""Private keys of DKIM, by way of OpenSSL, which signs without holding the interpreter's lock."""

import hashlib
import time
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_private_key

from mailwarren.contracts.dkim import ED25519, RSA, SigningKey
from mailwarren.sender.adapters.metrics import record_private_key
from mailwarren.sender.domain.dkim import Key

LEAST_RSA = 1024
"""Bits: verifiers may not accept less (RFC 8301 §3.2)."""
_PADDING = PKCS1v15()
_SHA256 = SHA256()
_PROBE = b"is this a whole key?"


@dataclass(frozen=True, slots=True)
class RsaKey:
    """``rsa-sha256`` (RFC 6376 §3.3.1)."""

    selector: str
    private: RSAPrivateKey
    algorithm: str = RSA

    def sign(self, data: bytes) -> bytes:
        """The signature of ``data``."""
        begin = time.thread_time()
        signature = self.private.sign(data, _PADDING, _SHA256)
        record_private_key(self.algorithm, time.thread_time() - begin)
        return signature

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether ``signature`` is one of ``data``; costs a twelfth of making one."""
        try:
            self.private.public_key().verify(signature, data, _PADDING, _SHA256)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Ed25519Key:
    """``ed25519-sha256``: of the hash of the data (RFC 8463 §3)."""

    selector: str
    private: Ed25519PrivateKey
    algorithm: str = ED25519

    def sign(self, data: bytes) -> bytes:
        """The signature of ``data``."""
        begin = time.thread_time()
        signature = self.private.sign(hashlib.sha256(data).digest())
        record_private_key(self.algorithm, time.thread_time() - begin)
        return signature

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether ``signature`` is one of ``data``."""
        try:
            self.private.public_key().verify(signature, hashlib.sha256(data).digest())
        except InvalidSignature:
            return False
        return True


def open_key(key: SigningKey) -> Key:
    """The key, ready to sign.

    Its arithmetic is tried once instead of checked in full, which takes 36 ms: a damaged RSA key gives itself away with
    its first signature, and that signature goes nowhere.

    Raises:
        ValueError: it cannot be used; the text says why, without the key.
    """
    try:
        private = load_der_private_key(key.private, None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("it is no private key in PKCS #8") from None
    opened: RsaKey | Ed25519Key
    if key.algorithm == RSA and isinstance(private, RSAPrivateKey):
        if private.key_size < LEAST_RSA:
            raise ValueError(f"it has {private.key_size} bits; verifiers refuse less than {LEAST_RSA}")
        opened = RsaKey(key.selector, private)
    elif key.algorithm == ED25519 and isinstance(private, Ed25519PrivateKey):
        opened = Ed25519Key(key.selector, private)
    else:
        raise ValueError(f"it is no key of {key.algorithm}, or this sender does not know that")
    try:
        whole = opened.verifies(opened.sign(_PROBE), _PROBE)
    except ValueError:
        whole = False
    if not whole:
        raise ValueError("what it signs does not verify")
    return opened
