"""Which names a certificate is for, with real handshakes in memory (RFC 9525; RFC 8461 §4.2)."""

import ssl
from pathlib import Path

import pytest
import trustme

from mailwarren.sender.smtp import TlsContexts, TlsProblem
from mailwarren.sender.smtp.site import TlsMode
from mailwarren.sender.smtp.tlsproblem import read_problem


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def contexts(authority, tmp_path_factory) -> TlsContexts:
    file: Path = tmp_path_factory.mktemp("ca") / "ca.pem"
    file.write_bytes(authority.cert_pem.bytes())
    return TlsContexts(file)


def serving(certificate: trustme.LeafCert) -> ssl.SSLContext:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(server)
    return server


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> TlsProblem | None:
    """What is wrong, as a sender reads it."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(down, up, server_hostname=name)
    theirs = server.wrap_bio(up, down, server_side=True)
    for _ in range(10):
        for side in (ours, theirs):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                return read_problem(error)
            if side is ours:
                return None
    raise AssertionError("the handshake has no end")


@pytest.mark.parametrize(
    ("said", "host", "right"),
    [
        (["mx.x.example"], "mx.x.example", True),
        (["other.example", "mx.x.example"], "mx.x.example", True),
        (["MX.X.example"], "mx.x.example", True),
        (["*.x.example"], "mx.x.example", True),
        (["*.x.example"], "a.mx.x.example", False),
        (["*.x.example"], "x.example", False),
        (["x.example"], "mx.x.example", False),
        (["mx.x.example.evil.test"], "mx.x.example", False),
        (["192.0.2.1"], "192.0.2.1", True),
        (["192.0.2.2"], "192.0.2.1", False),
        (["2001:db8::1"], "2001:db8::1", True),
    ],
    ids=str,
)
def test_a_certificate_is_for_the_names_that_it_says(authority, contexts, said, host, right):
    found = handshake(contexts.verifying, serving(authority.issue_cert(*said)), host)
    assert found is (None if right else TlsProblem.WRONG_NAME)


def test_a_common_name_names_no_host(authority, contexts):
    server = serving(authority.issue_cert(common_name="mx.x.example"))
    assert handshake(contexts.verifying, server, "mx.x.example") is TlsProblem.WRONG_NAME


def test_without_a_check_any_name_will_do(authority, contexts):
    server = serving(authority.issue_cert("elsewhere.example"))
    assert handshake(contexts.for_mode(TlsMode.REQUIRED), server, "mx.x.example") is None


def test_an_authority_that_nobody_knows_and_one_that_the_server_forgets_to_show(authority, contexts, tmp_path):
    stranger = serving(trustme.CA().issue_cert("mx.x.example"))
    assert handshake(contexts.verifying, stranger, "mx.x.example") is TlsProblem.UNTRUSTED
    child = authority.create_child_ca().issue_cert("mx.x.example")
    assert handshake(contexts.verifying, serving(child), "mx.x.example") is None
    alone = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    file = tmp_path / "alone.pem"
    file.write_bytes(child.private_key_pem.bytes() + child.cert_chain_pems[0].bytes())
    alone.load_cert_chain(file)
    assert handshake(contexts.verifying, alone, "mx.x.example") is TlsProblem.UNTRUSTED
