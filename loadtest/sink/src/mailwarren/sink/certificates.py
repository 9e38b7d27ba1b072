"""Certificates that are as they should be, and such as a client must refuse: made when first needed, by a CA of ours.

The CA lives as long as the process. ``pem`` is what a client trusts that is to see the difference between an expired
certificate and one that nobody vouches for.
"""

import hashlib
import ipaddress
import ssl
import tempfile
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from mailwarren.sink.persona import Tls
from mailwarren.sink.visit import Host

_OTHER_NAME = "elsewhere.invalid"
_DAY = timedelta(days=1)


_DAYS = {Tls.EXPIRED: (-30, -1), Tls.NOT_YET_VALID: (1, 30)}


def _make_old(context: ssl.SSLContext) -> None:
    """Let it speak TLS 1.1 and older, which OpenSSL has at no other level of security."""
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that is the point
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1


def _tlsa(usage: int, selector: int, matching: int, certificate: x509.Certificate) -> str:
    if selector:
        chosen = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    else:
        chosen = certificate.public_bytes(Encoding.DER)
    if matching:
        chosen = hashlib.new("sha256" if matching == 1 else "sha512", chosen).digest()
    return f"{usage} {selector} {matching} {chosen.hex()}"


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Certificates:
    """A certificate authority, and one context for each host and kind."""

    def __init__(self, hostname: str) -> None:
        self._hostname = hostname
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._authority = self._sign(
            _name("Mailwarren sink CA"), self._key, days=(-1, 365), alternatives=None, issuer=None
        )
        self._contexts: dict[tuple[str, Tls], ssl.SSLContext] = {}
        self._certificates: dict[tuple[str, Tls], x509.Certificate] = {}

    @property
    def pem(self) -> bytes:
        """The authority's own certificate."""
        return self._authority.public_bytes(Encoding.PEM)

    def context(self, kind: Tls, host: Host) -> ssl.SSLContext:
        """A server's context with such a certificate for ``host``: its name and its IP address."""
        key = (host.address, kind)
        if key not in self._contexts:
            self._contexts[key] = self._make(kind, host)
        return self._contexts[key]

    def tlsa(self, kind: Tls, host: Host) -> list[str]:
        """TLSA records (RFC 6698) that fit what ``host`` shows: of its certificate, and of the authority."""
        self.context(kind, host)
        certificate = self._certificates[host.address, kind]
        return [
            *(_tlsa(3, selector, matching, certificate) for selector in (0, 1) for matching in (0, 1, 2)),
            *(_tlsa(2, selector, matching, self._authority) for selector in (0, 1) for matching in (0, 1, 2)),
        ]

    def _make(self, kind: Tls, host: Host) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        name = _OTHER_NAME if kind is Tls.WRONG_NAME else host.name or self._hostname
        alternatives: list[x509.GeneralName] = [x509.DNSName(name)]
        if kind is not Tls.WRONG_NAME and host.ip:
            alternatives.append(x509.IPAddress(ipaddress.ip_address(host.ip)))
        days = _DAYS.get(kind, (-1, 365))
        if kind is Tls.UNTRUSTED:
            # An authority of the same name, and another key.
            certificate = Certificates(self._hostname)._sign(  # noqa: SLF001 - of this class
                _name(name), key, days=days, alternatives=alternatives, issuer=self._authority
            )
        else:
            issuer = None if kind is Tls.SELF_SIGNED else self._authority
            certificate = self._sign(_name(name), key, days=days, alternatives=alternatives, issuer=issuer)
        self._certificates[host.address, kind] = certificate
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        if kind is Tls.OLD_VERSION:
            _make_old(context)
        # The ssl module takes certificate and key from a file only.
        with tempfile.TemporaryDirectory() as folder:
            chain = Path(folder) / "chain.pem"
            chain.touch(mode=0o600)
            private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            behind = self.pem if kind is Tls.WITH_AUTHORITY else b""
            chain.write_bytes(private + certificate.public_bytes(Encoding.PEM) + behind)
            context.load_cert_chain(chain)
        return context

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *,
        days: tuple[int, int],
        alternatives: list[x509.GeneralName] | None,
        issuer: x509.Certificate | None,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        public = key.public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.subject if issuer else subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + days[0] * _DAY)
            .not_valid_after(now + days[1] * _DAY)
            .add_extension(x509.BasicConstraints(ca=alternatives is None, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key((self._key if issuer else key).public_key()),
                critical=False,
            )
        )
        if alternatives is not None:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        else:
            usage = x509.KeyUsage(
                digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
                key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
            )  # fmt: skip
            builder = builder.add_extension(usage, critical=True)
        return builder.sign(self._key if issuer else key, hashes.SHA256())
