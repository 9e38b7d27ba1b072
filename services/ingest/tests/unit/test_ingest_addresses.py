"""Addresses: what is taken, what is refused and why, and that the fast path agrees with the library."""

from email.headerregistry import Address
from email.utils import parseaddr

import email_validator
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailwarren.ingest.domain.addresses import InvalidAddress, Mailbox, _unusual_address, parse_address, parse_mailbox


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("ada@example.com", "", "ada@example.com"),
        ("  ada@example.com ", "", "ada@example.com"),
        ("<ada@example.com>", "", "ada@example.com"),
        ("Ada <ada@example.com>", "Ada", "ada@example.com"),
        ("Ada Lovelace<ada@EXAMPLE.com>", "Ada Lovelace", "ada@example.com"),
        ("Acme Inc. <ada@example.com>", "Acme Inc.", "ada@example.com"),
        ("Zoë Ωmega 日本 <ada@example.com>", "Zoë Ωmega 日本", "ada@example.com"),
        ('"Lovelace, Ada" <ada@example.com>', "Lovelace, Ada", "ada@example.com"),
        (r'"Ada \"the first\" <x>" <ada@example.com>', 'Ada "the first" <x>', "ada@example.com"),
        ("Ada.Lovelace+x@example.com", "", "Ada.Lovelace+x@example.com"),
        ("Postmaster@example.com", "", "Postmaster@example.com"),
        ("ada@bücher.example", "", "ada@xn--bcher-kva.example"),
        ("ada@demo.test", "", "ada@demo.test"),
        ("ada@mail.local", "", "ada@mail.local"),
        ("ada@host.localhost", "", "ada@host.localhost"),
    ],
)
def test_what_is_an_address(text, name, address):
    assert parse_mailbox(text) == Mailbox(name, address)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("ada", "@"),
        ("ada@", "after the @"),
        ("@example.com", "before the @"),
        ("ada@example", "period"),
        ("ada@localhost", "period"),
        ("ada@[127.0.0.1]", "bracketed IP"),
        ("ada@1.2.3.4", "top-level"),
        ('"a b"@example.com', "Quoting"),
        ("a..b@example.com", "two periods"),
        ("ada@-x.com", "hyphen"),
        ("ada@xn--zz.com", "IDNA"),
        ("a@b.test, c@d.test", "several addresses"),
        ("a@b.test; c@d.test", "several addresses"),
        ("Lovelace, Ada <ada@example.com>", "stands in quotes"),
        ("Ada (home) <ada@example.com>", "stands in quotes"),
        ("team: a@b.test, c@d.test;", "groups"),
        ("undisclosed-recipients:;", "groups"),
        ("Ada <ada@example.com> <x@y.test>", "stands in quotes"),
        ("Ada <ada@example.com", "looks like"),
        ("Ada\r\nBcc: eve@example.com <ada@example.com>", "line break"),
        ("ada@example.com\n", "line break"),
        ("ada@exa\x00mple.com", "line break"),
        ("a" * 65 + "@example.com", "too long"),
        ("a" * 300 + " <ada@example.com>", "longer than 256"),
        ("a" * 2000, "longer than 1000"),
    ],
)
def test_what_is_none(text, words):
    with pytest.raises(InvalidAddress, match=words):
        parse_mailbox(text)


names = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=60).map(str.strip)


@given(names)
@example('a"b\\c')
@example("Lovelace, Ada")
def test_a_mailbox_reads_back_as_itself(name):
    box = Mailbox(name, "ada@example.com")
    assert parse_mailbox(box.text()) == box


@given(names.filter(str.isascii))
def test_the_standard_library_reads_the_same_name(name):
    text = Mailbox(name, "ada@example.com").text()
    assert _parsed(text)[1] == "ada@example.com"
    if name:
        assert str(Address(name, addr_spec="ada@example.com"))
        assert _parsed(text)[0].split() == name.split()


def _parsed(text):
    """Leniently: patch releases of Python differ in whether that is the only way, the default, or an option."""
    try:
        return parseaddr(text, strict=False)
    except TypeError:
        return parseaddr(text)


atoms = st.text("abcXYZ019!#$%&'*+-/=?^_`{|}~", min_size=1, max_size=20)
labels = st.text("abcXYZ019-", min_size=1, max_size=12)
plain = st.builds(
    lambda local, domain: f"{'.'.join(local)}@{'.'.join(domain)}",
    st.lists(atoms, min_size=1, max_size=4),
    st.lists(labels, min_size=1, max_size=4),
)


@given(plain)
@example("a@b.c")
@example("a@xn--bcher-kva.example")
@example("a@" + "b" * 64 + ".com")
@example("a" * 64 + "@" + ".".join(["b" * 60] * 3) + ".comm")
@example("a" * 64 + "@" + ".".join(["b" * 60] * 3) + ".commm")
def test_the_fast_path_agrees_with_the_library(text):
    def outcome(parse):
        try:
            return parse(text)
        except InvalidAddress:
            return None

    assert outcome(parse_address) == outcome(_unusual_address)


@given(st.emails())
def test_every_address_that_hypothesis_makes_is_taken_or_explained(text):
    try:
        address = parse_address(text)
    except InvalidAddress:
        # It allows what we do not: domains without the form of a host name, local parts of more than 64 octets.
        with pytest.raises(email_validator.EmailNotValidError):
            email_validator.validate_email(text, check_deliverability=False, strict=True)
        return
    assert address.rpartition("@")[2] == text.rpartition("@")[2].lower()
    assert parse_address(address) == _unusual_address(address) == address
