"""The keys as ingest answers them: bytes that two releases must agree on."""

import pytest

from mailwarren.contracts.dkim import ED25519, RSA, SigningKey, SigningKeys, decode_keys, encode_keys, keys_path
from mailwarren.contracts.testing import TENANT

KEYS = SigningKeys(
    "sender.test",
    (SigningKey("mw1", RSA, b"\x30\x00"), SigningKey("mw1e", ED25519, b"\x30\x01\x02")),
    1_764_000_300.0,
)
ANSWER = (
    b'{"domain":"sender.test","keys":[{"selector":"mw1","algorithm":"rsa-sha256","private":"MAA="},'
    b'{"selector":"mw1e","algorithm":"ed25519-sha256","private":"MAEC"}],"fresh_until":1764000300.0}'
)


def test_the_answer_is_written_and_read_as_it_always_was() -> None:
    assert encode_keys(KEYS) == ANSWER
    assert decode_keys(ANSWER) == KEYS


def test_what_a_later_release_adds_is_passed_over() -> None:
    later = ANSWER.replace(b'"selector":"mw1",', b'"selector":"mw1","born":1,').replace(b"{", b'{"later":[1],', 1)
    assert decode_keys(later) == KEYS
    assert decode_keys(ANSWER.replace(b"ed25519-sha256", b"falcon-sha3")).keys[1].algorithm == "falcon-sha3"


@pytest.mark.parametrize("body", [b"", b"{}", b"<html>", ANSWER.replace(b'"MAA="', b'"M"'), b"\xff" + ANSWER])
def test_what_is_no_answer_is_refused_without_a_word_of_it(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"^not the keys of a domain$") as raised:
        decode_keys(body)
    assert raised.value.__cause__ is None


def test_a_private_key_is_shown_in_no_representation() -> None:
    assert "0000" not in repr(SigningKey("s", RSA, b"0000"))
    assert "0000" not in repr(SigningKeys("d", (SigningKey("s", RSA, b"0000"),), 0.0))


def test_the_path_names_domain_and_tenant() -> None:
    assert keys_path(TENANT, "sender.test") == f"/internal/dkim/sender.test?tenant={TENANT}"
    assert keys_path(TENANT, "a/../b?c") == f"/internal/dkim/a%2F..%2Fb%3Fc?tenant={TENANT}"
