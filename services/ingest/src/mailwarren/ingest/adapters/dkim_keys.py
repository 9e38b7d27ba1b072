"""Making DKIM keys. RSA takes a tenth of a second of CPU, outside of the GIL: call it in a thread."""

import secrets

import msgspec
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from mailwarren.contracts.dkim import ED25519, RSA

RSA_BITS = 2048
"""What RFC 8301 §3.2 asks for, and what fits into a DNS answer over UDP."""
_LETTERS = {RSA: "r", ED25519: "e"}


class NewKey(msgspec.Struct, frozen=True):
    """A key that was just made. ``private`` is PKCS #8 in DER, ``public`` what ``p=`` of its record says, decoded."""

    selector: str
    algorithm: str
    public: bytes
    private: bytes

    def __repr__(self) -> str:
        return f"NewKey(selector={self.selector!r}, algorithm={self.algorithm!r})"


def make_key(algorithm: str) -> NewKey:
    """A key with a selector that no other key of any domain ever had: the DNS remembers old records for days."""
    selector = f"mw{_LETTERS[algorithm]}-{secrets.token_hex(4)}"
    if algorithm == RSA:
        key = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
        public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return NewKey(selector, algorithm, public, _private(key))
    other = ed25519.Ed25519PrivateKey.generate()
    # RFC 8463 §4: the 32 octets themselves.
    return NewKey(selector, algorithm, other.public_key().public_bytes_raw(), _private(other))


def make_keys(algorithms: tuple[str, ...] = (RSA, ED25519)) -> list[NewKey]:
    """A key for each of the algorithms."""
    return [make_key(algorithm) for algorithm in algorithms]


def _private(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
