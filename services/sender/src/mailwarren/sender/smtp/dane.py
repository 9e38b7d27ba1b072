"""DANE for SMTP (RFC 7672): TLSA records, and whether the certificates of a server fit one of them.

Python's ssl module knows nothing of TLSA, so the handshake is done without a check and the chain is looked at here,
before anything is said over the connection.
"""

import hashlib
import ssl
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from mailwarren.sender.smtp.tlsproblem import TlsProblem

TRUST_ANCHOR = 2
"""DANE-TA: an authority of the server's own, which has signed its certificate."""
END_ENTITY = 3
"""DANE-EE: the server's certificate itself; its names and dates do not matter (RFC 7672 §3.1.1)."""

_WHOLE, _KEY = 0, 1
_EXACT, _SHA256, _SHA512 = 0, 1, 2
_LENGTHS = {_SHA256: 32, _SHA512: 64}
LONGEST_DATA = 16 * 1024
"""Octets of a record's data."""


@dataclass(frozen=True, slots=True, order=True)
class Tlsa:
    """One TLSA record (RFC 6698 §2.1)."""

    usage: int
    selector: int
    matching: int
    data: bytes

    @property
    def usable(self) -> bool:
        """Whether SMTP can use it: usages 0 and 1 cannot be (RFC 7672 §3.1.3), nor what nobody has defined."""
        return (
            self.usage in {TRUST_ANCHOR, END_ENTITY}
            and self.selector in {_WHOLE, _KEY}
            and self.matching in {_EXACT, _SHA256, _SHA512}
            and 0 < len(self.data) <= LONGEST_DATA
            and len(self.data) == _LENGTHS.get(self.matching, len(self.data))
        )

    def fits(self, certificate: bytes) -> bool:
        """Whether it speaks of ``certificate`` (DER)."""
        chosen = certificate if self.selector == _WHOLE else _public_key(certificate)
        if self.matching == _SHA256:
            chosen = hashlib.sha256(chosen).digest()
        elif self.matching == _SHA512:
            chosen = hashlib.sha512(chosen).digest()
        return chosen == self.data

    def __str__(self) -> str:
        """As RFC 8460 §4.4 shows a policy: the record's text."""
        return f"{self.usage} {self.selector} {self.matching} {self.data.hex()}"


@dataclass(frozen=True, slots=True)
class Dane:
    """What DNS says of a host's certificates, with DNSSEC.

    Attributes:
        records: The TLSA records that can be used. None of those that there are: TLS is still required, whatever the
            certificate (RFC 7672 §2.2).
        names: Those that a certificate signed by a trust anchor may be for: the one that the records stand at, the
            host's, and the domain's whose mail it takes (RFC 7672 §3.2.2).
        unknown: Why it is not known whether there are records; the host cannot be used then.
        key: Tells it from others, in the name of a route.
    """

    records: tuple[Tlsa, ...] = ()
    names: tuple[str, ...] = ()
    unknown: str | None = None
    key: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Compute ``key`` once."""
        said = "\n".join((*map(str, self.records), *self.names)).encode()
        object.__setattr__(self, "key", hashlib.sha256(said).hexdigest()[:16])

    def problem(self, chain: Sequence[bytes]) -> TlsProblem | None:
        """What is wrong with the certificates that a server showed (DER, its own first); None when one record fits."""
        if not self.records:
            return None
        if not chain:
            return TlsProblem.TLSA_MISMATCH
        found: TlsProblem = TlsProblem.TLSA_MISMATCH
        for record in sorted(_strongest(self.records), reverse=True):  # end entities first: they cost least
            if record.usage == END_ENTITY:
                if record.fits(chain[0]):
                    return None
                continue
            for anchor in _anchors(record, chain):
                problem = _check_chain(anchor, chain, self.names)
                if problem is None:
                    return None
                found = problem
        return found


def chain_of(session: ssl.SSLObject | ssl.SSLSocket) -> list[bytes]:
    """The certificates that the server showed, its own first, as DER."""
    if hasattr(session, "get_unverified_chain"):  # Python 3.13
        return list(session.get_unverified_chain())
    # Before that the same function exists without a public name.
    chain = session._sslobj.get_unverified_chain() or ()  # type: ignore[union-attr]  # noqa: SLF001
    return [ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in chain]


def _strongest(records: Sequence[Tlsa]) -> Iterable[Tlsa]:
    """Without the weaker digests where there is a stronger one of the same kind (RFC 7671 §9)."""
    strong = {(record.usage, record.selector) for record in records if record.matching == _SHA512}
    return (one for one in records if one.matching != _SHA256 or (one.usage, one.selector) not in strong)


def _public_key(certificate: bytes) -> bytes:
    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
        return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, TypeError):  # no key that anybody knows
        return b""


def _anchors(record: Tlsa, chain: Sequence[bytes]) -> Iterable[bytes]:
    """The certificates that ``record`` makes trusted: of those shown, or the one that it holds itself."""
    shown = [one for one in chain if record.fits(one)]
    if not shown and (record.selector, record.matching) == (_WHOLE, _EXACT):
        return [record.data]
    return shown


def _check_chain(anchor: bytes, chain: Sequence[bytes], names: Sequence[str]) -> TlsProblem | None:
    """Whether a chain leads from the server's certificate to ``anchor``, is valid today, and names the server."""
    try:
        trusted = x509.load_der_x509_certificate(anchor)
        leaf, *others = [x509.load_der_x509_certificate(one) for one in chain]
    except ValueError:
        return TlsProblem.CERTIFICATE
    now = datetime.now(UTC)
    for one in (leaf, trusted):
        if now < one.not_valid_before_utc:
            return TlsProblem.NOT_YET_VALID
        if now > one.not_valid_after_utc:
            return TlsProblem.EXPIRED
    builder = _policy().store(Store([trusted])).time(now)
    for name in names:
        with suppress(VerificationError):
            builder.build_server_verifier(x509.DNSName(name)).verify(leaf, others)
            return None
    return TlsProblem.CERTIFICATE if _is_for(leaf, names) else TlsProblem.WRONG_NAME


def _may_sign(policy: Policy, certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    """Refuse an authority whose key is for something else."""
    del policy, certificate
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("its key is not for certificates")


@lru_cache(maxsize=1)
def _policy() -> PolicyBuilder:
    """What a chain must have: names, and authorities that are such. Private ones do not care for browsers' rules."""
    of_server = ExtensionPolicy.permit_all().require_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, None)
    of_authority = (
        ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
        .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _may_sign)
    )
    return PolicyBuilder().extension_policies(ee_policy=of_server, ca_policy=of_authority)


def _is_for(certificate: x509.Certificate, names: Sequence[str]) -> bool:
    try:
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        said = {name.lower() for name in alternatives.get_values_for_type(x509.DNSName)}
    except (x509.ExtensionNotFound, ValueError):
        return False
    return any(name in said or "*." + name.partition(".")[2] in said for name in names)
