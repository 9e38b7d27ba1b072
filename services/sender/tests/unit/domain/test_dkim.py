"""Which octets a signature covers, by the examples of RFC 6376 and by rule; whether it verifies is for other tests."""

import hashlib
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass

import pytest

from mailwarren.contracts.dkim import ED25519, RSA
from mailwarren.sender.domain.dkim import hash_body, select_fields, sign_mail

HEAD = b"From: Ada <ada@sender.test>\r\nSubject: Hello\r\n\tyou\r\nX-Order:  17 \r\nMIME-Version: 1.0\r\n"
EMPTY = b64encode(hashlib.sha256(b"").digest()).decode()
"""``bh=`` of no body at all (RFC 6376 §3.4.4)."""
NOW = 1_764_000_000


def hashed(canonical: bytes) -> str:
    return b64encode(hashlib.sha256(canonical).digest()).decode()


@dataclass(frozen=True)
class Key:
    """Signs with a hash: what is signed is what these tests are about."""

    selector: str = "mw1"
    algorithm: str = RSA

    def sign(self, data: bytes) -> bytes:
        return hashlib.sha512(self.selector.encode() + data).digest()

    def verifies(self, signature: bytes, data: bytes) -> bool:
        return signature == self.sign(data)


def signed(head=HEAD, body=EMPTY, keys=(Key(),), now=NOW, kept=None):
    return sign_mail(head, body, domain="sender.test", keys=keys, now=now, kept=kept)


def fields_of(found) -> list[bytes]:
    assert found.fields.endswith(b"\r\n")
    return re.split(rb"(?<=\r\n)(?=DKIM-Signature:)", found.fields)


def tags(field: bytes) -> dict[str, str]:
    text = re.sub(r"\s+", "", field.decode().partition(":")[2])
    return dict(part.split("=", 1) for part in text.split(";"))


def test_the_body_of_the_rfcs_example():
    # RFC 6376 §3.4.5
    assert hash_body([b" C \r\nD \t E\r\n\r\n\r\n"]) == hashed(b" C\r\nD E\r\n")


def test_the_header_of_the_rfcs_example():
    names, octets = select_fields(b"A: X\r\nB : Y\t\r\n\tZ  \r\n")
    assert octets == b"a:X\r\nb:Y Z\r\n"
    assert names.startswith("a:b:")


@pytest.mark.parametrize(
    ("body", "canonical"),
    [
        (b"", b""),
        (b"\r\n", b""),
        (b"\r\n\r\n", b""),
        (b" \r\n\t\r\n", b""),
        (b"a\r\n", b"a\r\n"),
        (b"a\r\n\r\n\r\n", b"a\r\n"),
        (b"\r\n\r\na\r\n", b"\r\n\r\na\r\n"),
        (b"a \t b\t\r\n", b"a b\r\n"),
        (b"a" + b" " * 1000 + b"b\r\n", b"a b\r\n"),
        (b".\r\n..\r\n", b".\r\n..\r\n"),
        ("grüße  \r\n".encode(), "grüße\r\n".encode()),
    ],
)
def test_bodies_in_canonical_form(body, canonical):
    assert hash_body([body]) == hashed(canonical)


def test_a_body_in_parts_has_the_hash_of_the_whole():
    encoded = memoryview(b"QUJD\r\nREVG\r\n")
    parts = [b"--x\r\na  b\r\n\r\n", encoded, b"--x--\r\n\r\n"]
    assert (
        hash_body(parts)
        == hash_body([b"".join(map(bytes, parts))])
        == hashed(b"--x\r\na b\r\n\r\nQUJD\r\nREVG\r\n--x--\r\n")
    )


def test_all_fields_are_signed_and_the_important_ones_once_more_than_there_are():
    names = select_fields(HEAD)[0].split(":")
    assert names[:6] == ["from", "from", "subject", "subject", "x-order", "mime-version"]
    # Those that the mail has not cannot be added either.
    assert names[7:] == ["reply-to", "date", "to", "cc", "message-id"]


def test_links_to_unsubscribe_are_signed_where_they_are_and_may_be_added_where_they_are_not():
    head = HEAD + b"List-Unsubscribe: <https://x.test/1>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    names, octets = select_fields(head)
    assert (names.count("list-unsubscribe:list-unsubscribe:"), names.count("list-unsubscribe-post")) == (1, 2)
    assert b"list-unsubscribe:<https://x.test/1>\r\nlist-unsubscribe-post:List-Unsubscribe=One-Click\r\n" in octets
    assert "list-" not in select_fields(HEAD)[0]


def test_of_fields_with_one_name_the_last_is_the_first_to_be_signed():
    names, octets = select_fields(b"X-A: 1\r\nFrom: a@b.test\r\nx-a: 2\r\n")
    assert names.startswith("x-a:x-a:from:from:")
    assert octets == b"x-a:2\r\nx-a:1\r\nfrom:a@b.test\r\n"


def test_what_servers_write_and_what_cannot_be_named_is_not_signed():
    names, octets = select_fields(HEAD + b"Received: x\r\nReturn-Path: <>\r\nX-A;b: 1\r\nX-\xc3\xa4: 2\r\n")
    assert (names, octets) == select_fields(HEAD)


def test_a_field_says_what_was_done():
    (field,) = fields_of(signed(body="Ym9keQ=="))
    found = tags(field)
    assert found | {"h": "", "b": ""} == {
        "v": "1", "a": RSA, "c": "relaxed/relaxed", "d": "sender.test", "s": "mw1", "t": str(NOW), "bh": "Ym9keQ==",
        "h": "", "b": "",
    }  # fmt: skip
    # The whole body for ever, and whoever holds the domain answers for it.
    assert not {"l", "x", "i", "z"} & set(found)


def test_the_signature_covers_its_own_field_up_to_itself():
    (field,) = fields_of(signed())
    names, octets = select_fields(HEAD)
    before = field[: field.index(b" b=") + 3]
    own = re.sub(rb"\s*\r\n\s+", b" ", before).replace(b"DKIM-Signature: ", b"dkim-signature:")
    assert b"".join(field[len(before) :].split()) == b64encode(Key().sign(octets + own))
    assert names in own.replace(b": ", b":").decode()


def test_no_line_is_long_and_none_is_broken_in_the_middle_of_a_name():
    head = b"".join(b"X-Header-Number-%d: x\r\n" % n for n in range(60)) + HEAD
    (field,) = fields_of(signed(head, keys=(Key("s" * 60),)))
    assert max(map(len, field.split(b"\r\n"))) <= 78
    assert all(line.startswith(b" ") for line in field.split(b"\r\n")[1:-1])
    assert tags(field)["h"] == select_fields(head)[0]


def test_each_key_makes_a_signature_that_knows_nothing_of_the_others():
    both = fields_of(signed(keys=(Key("a"), Key("b", ED25519))))
    alone = fields_of(signed(keys=(Key("b", ED25519),)))
    assert [tags(field)["s"] for field in both] == ["a", "b"]
    assert both[1:] == alone


def test_a_kept_signature_is_used_again_later():
    first = signed()
    again = signed(now=NOW + 900, kept=first.kept)
    assert again.fields == first.fields
    assert again.kept == first.kept
    assert (first.made, first.reused) == ((RSA,), ())
    assert (again.made, again.reused) == ((), (RSA,))


@pytest.mark.parametrize(
    "changed",
    [
        {"head": HEAD.replace(b"Hello", b"Hallo")},
        {"body": hashed(b"another")},
        {"keys": (Key("mw2"),)},
        {"keys": (Key("mw1", ED25519),)},
    ],
    ids=["header", "body", "key", "algorithm"],
)
def test_a_kept_signature_of_something_else_is_not(changed):
    kept = signed().kept
    again = signed(now=NOW + 900, kept=kept, **changed)
    assert again == signed(now=NOW + 900, **changed)
    assert again.reused == ()


def test_a_key_that_came_later_signs_beside_the_kept_one():
    again = signed(now=NOW + 900, kept=signed().kept, keys=(Key(), Key("mw2")))
    assert [tags(field)["t"] for field in fields_of(again)] == [str(NOW), str(NOW + 900)]
    assert (again.made, again.reused) == ((RSA,), (RSA,))


@pytest.mark.parametrize("kept", ["", "x", "mw1:1", "mw1:1:", "mw1:1:!!!!", "mw1:1:AAA", f"mw1:{'9' * 5000}:AAAA"])
def test_what_is_no_signature_is_not_kept(kept):
    assert signed(kept=kept) == signed()


def test_what_is_kept_is_short_and_plain():
    kept = signed(keys=(Key(), Key("b", ED25519))).kept
    assert [item.split(":")[:2] for item in kept.split()] == [["mw1", str(NOW)], ["b", str(NOW)]]
    assert [len(b64decode(item.split(":")[2])) for item in kept.split()] == [64, 64]
