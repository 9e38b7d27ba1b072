"""Certificates that are as they should be, and such as a client must refuse: made when first needed, by a CA of ours.

The CA lives as long as the process. ``pem`` is what a client trusts that is to see the difference between an expired
certificate and one that nobody vouches for.
"""

import ipaddress
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from mailwarren.sink.persona import Tls
from mailwarren.sink.visit import Host

_OTHER_NAME = "elsewhere.invalid"
_DAY = timedelta(days=1)


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

    def _make(self, kind: Tls, host: Host) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        name = _OTHER_NAME if kind is Tls.WRONG_NAME else host.name or self._hostname
        alternatives: list[x509.GeneralName] = [x509.DNSName(name)]
        if kind is not Tls.WRONG_NAME and host.ip:
            alternatives.append(x509.IPAddress(ipaddress.ip_address(host.ip)))
        days = (-30, -1) if kind is Tls.EXPIRED else (-1, 365)
        issuer = None if kind is Tls.SELF_SIGNED else self._authority
        certificate = self._sign(_name(name), key, days=days, alternatives=alternatives, issuer=issuer)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        # The ssl module takes certificate and key from a file only.
        with tempfile.TemporaryDirectory() as folder:
            chain = Path(folder) / "chain.pem"
            chain.touch(mode=0o600)
            private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            chain.write_bytes(private + certificate.public_bytes(Encoding.PEM))
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
