"""TLSA records and certificates, without DNS."""

import hashlib
import ssl
from datetime import UTC, datetime, timedelta

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from mailwarren.sender.smtp import Host, TlsProblem
from mailwarren.sender.smtp.dane import LONGEST_DATA, Dane, Tlsa

NAMES = ("mx.x.example", "x.example")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def der(pem: bytes) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pem.decode())


@pytest.fixture(scope="module")
def root(authority) -> bytes:
    return der(authority.cert_pem.bytes())


def chain(authority: trustme.CA, *names: str) -> list[bytes]:
    return [der(pem.bytes()) for pem in authority.issue_cert(*names).cert_chain_pems]


@pytest.mark.parametrize(
    ("record", "usable"),
    [
        (Tlsa(3, 1, 1, bytes(32)), True),
        (Tlsa(2, 0, 2, bytes(64)), True),
        (Tlsa(3, 0, 0, b"x"), True),
        (Tlsa(0, 0, 1, bytes(32)), False),
        (Tlsa(1, 1, 1, bytes(32)), False),
        (Tlsa(3, 2, 1, bytes(32)), False),
        (Tlsa(3, 1, 3, bytes(32)), False),
        (Tlsa(3, 1, 1, bytes(31)), False),
        (Tlsa(3, 1, 2, bytes(32)), False),
        (Tlsa(3, 0, 0, b""), False),
        (Tlsa(3, 0, 0, bytes(LONGEST_DATA + 1)), False),
    ],
)
def test_smtp_can_use_two_usages_in_all_their_forms(record, usable):
    assert record.usable is usable


def test_a_record_speaks_of_the_certificate_or_of_its_key(authority):
    (leaf, *_) = chain(authority, "mx.x.example")
    key = (
        x509.load_der_x509_certificate(leaf).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    for selector, said in ((0, leaf), (1, key)):
        assert Tlsa(3, selector, 0, said).fits(leaf)
        assert Tlsa(3, selector, 1, hashlib.sha256(said).digest()).fits(leaf)
        assert Tlsa(3, selector, 2, hashlib.sha512(said).digest()).fits(leaf)
        assert not Tlsa(3, 1 - selector, 0, said).fits(leaf)
    assert not Tlsa(3, 1, 1, bytes(32)).fits(b"no certificate")


def anchored(root: bytes) -> Tlsa:
    return Tlsa(2, 0, 1, hashlib.sha256(root).digest())


@pytest.mark.parametrize("name", ["mx.x.example", "x.example", "*.x.example"])
def test_a_trust_anchor_vouches_for_the_host_or_the_domain(authority, root, name):
    assert Dane((anchored(root),), NAMES).problem([*chain(authority, name), root]) is None


def test_a_trust_anchor_does_not_vouch_for_another_name(authority, root):
    dane = Dane((anchored(root),), NAMES)
    assert dane.problem([*chain(authority, "mx.y.example"), root]) is TlsProblem.WRONG_NAME


def test_an_anchor_that_is_shown_and_has_signed_nothing_is_no_anchor(root):
    stranger = trustme.CA()
    dane = Dane((anchored(root),), NAMES)
    assert dane.problem([*chain(stranger, "mx.x.example"), root]) is TlsProblem.CERTIFICATE


def test_an_intermediate_authority_can_be_the_anchor(authority):
    child = authority.create_child_ca()
    shown = chain(child, "mx.x.example")
    between = der(child.cert_pem.bytes())
    assert between in shown
    assert Dane((anchored(between),), NAMES).problem(shown) is None


def test_a_certificate_that_is_no_authority_signs_for_nobody(authority, root):
    """The anchor's customers could otherwise speak for each other's hosts."""
    now, key = datetime.now(UTC), ec.generate_private_key(ec.SECP256R1())
    customer = authority.issue_cert("evil.example")
    issuer = x509.load_pem_x509_certificate(customer.cert_chain_pems[0].bytes())
    signing = load_pem_private_key(customer.private_key_pem.bytes(), None)
    forged = (
        x509.CertificateBuilder()
        .subject_name(issuer.subject)
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("mx.x.example")]), critical=False)
        .sign(signing, hashes.SHA256())
    )
    shown = [forged.public_bytes(Encoding.DER), issuer.public_bytes(Encoding.DER), root]
    assert Dane((anchored(root),), NAMES).problem(shown) is TlsProblem.CERTIFICATE


def test_the_stronger_digest_of_one_kind_counts(authority):
    """RFC 7671 §9: whoever could forge the weaker one gains nothing."""
    (leaf, *_) = chain(authority, "mx.x.example")
    weak, strong = (Tlsa(3, 0, 1, hashlib.sha256(leaf).digest()), Tlsa(3, 0, 2, hashlib.sha512(leaf).digest()))
    other = Tlsa(3, 0, 2, bytes(64))
    assert Dane((weak, strong)).problem([leaf]) is None
    assert Dane((weak, other)).problem([leaf]) is TlsProblem.TLSA_MISMATCH
    assert Dane((weak, other, Tlsa(3, 0, 0, leaf))).problem([leaf]) is None, "no digest is not a weak one"
    assert Dane((weak, Tlsa(3, 1, 2, bytes(64)))).problem([leaf]) is None, "of the key, another kind"


def test_the_server_is_asked_for_the_name_that_its_records_stand_at():
    assert Host("mx.x.example", 25, dane=Dane((anchored(b"a"),), ("real.x.example", *NAMES))).shows == "real.x.example"
    assert Host("mx.x.example", 25).shows == Host("mx.x.example", 25, dane=Dane()).shows == "mx.x.example"


def test_the_record_may_hold_the_anchor_that_is_not_shown(authority, root):
    assert Dane((Tlsa(2, 0, 0, root),), NAMES).problem(chain(authority, "mx.x.example")[:1]) is None


def test_without_a_certificate_nothing_fits():
    assert Dane((Tlsa(3, 1, 1, bytes(32)),), NAMES).problem([]) is TlsProblem.TLSA_MISMATCH
    assert Dane((Tlsa(3, 1, 1, bytes(32)),), NAMES).problem([b"junk"]) is TlsProblem.TLSA_MISMATCH
    assert Dane((Tlsa(2, 0, 0, b"junk"),), NAMES).problem([b"junk2"]) is TlsProblem.CERTIFICATE


def test_hosts_of_other_records_are_other_routes():
    one, same, other = Dane((anchored(b"a"),), NAMES), Dane((anchored(b"a"),), NAMES), Dane((anchored(b"b"),), NAMES)
    assert one.key == same.key != other.key
