"""Addresses beyond ASCII (RFC 6531): what is taken and in which form, what is refused, and how they compare."""

import unicodedata
from datetime import UTC, datetime
from email.utils import parseaddr
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailwarren.contracts.address_key import address_key
from mailwarren.contracts.parcel import Role
from mailwarren.contracts.unsubscribe import LISTS
from mailwarren.ingest.domain.addresses import InvalidAddress, Mailbox, parse_address, parse_mailbox
from mailwarren.ingest.domain.contacts import ContactBody, address_of, check_contact, email_key
from mailwarren.ingest.domain.privacy import Whose
from mailwarren.ingest.domain.requests import EmailBody
from mailwarren.ingest.domain.suppression_csv import Reader, write, write_head
from mailwarren.ingest.domain.suppressions import Entry
from mailwarren.ingest.domain.unsubscribe_links import Links
from mailwarren.ingest.domain.validation import validate_email
from mailwarren.store.states import Origin

TENANT = UUID(int=1)


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("zoë@example.com", "", "zoë@example.com"),
        (unicodedata.normalize("NFD", "zoë@example.com"), "", "zoë@example.com"),
        ("Zoë <ZOË@Example.COM>", "Zoë", "ZOË@example.com"),
        ('"Müller, Jörg" <jörg.müller+post@bücher.example>', "Müller, Jörg", "jörg.müller+post@xn--bcher-kva.example"),
        ("用户@例子.广告", "", "用户@xn--fsqu00a.xn--4rr70v"),
        ("अजय@डाटा.भारत", "", "अजय@xn--c2bd1gb.xn--h2brj9c"),
        ("коля@пример.рф", "", "коля@xn--e1afmkfd.xn--p1ai"),
        ("θσερ@example.com", "", "θσερ@example.com"),
        ("علي2@example.com", "", "علي2@example.com"),
        ("דוד.כהן@example.com", "", "דוד.כהן@example.com"),
        ("straße@example.com", "", "straße@example.com"),
        ("\uff54\uff41\uff52\uff4f@example.com", "", "\uff54\uff41\uff52\uff4f@example.com"),
        ("😀@example.com", "", "😀@example.com"),
        ("é" * 32 + "@example.com", "", "é" * 32 + "@example.com"),
        # Canonical forms of ASCII letters: KELVIN SIGN is K (Unicode §22.2).
        ("\u212a@example.com", "", "K@example.com"),
    ],
)
def test_what_is_taken_is_composed_and_keeps_its_letters(text, name, address):
    assert parse_mailbox(text) == Mailbox(name, address)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("é" * 33 + "@example.com", "66 octets of UTF-8 before the @"),
        ("用" * 22 + "@example.com", "66 octets"),
        ("é" * 32 + "@" + ".".join(["b" * 61] * 3) + ".com", None),
        ("é" * 32 + "@" + ".".join(["b" * 61] * 3) + ".comm", "too long"),
        ("用@" + "例" * 70 + ".com", "too long"),
        ("a\x85b@example.com", "control"),
        ("zoë\x07@example.com", "control"),
        ("zoë\u2028@example.com", "LINE SEPARATOR"),
        ("zo\u00ad\u00eb@example.com", "SOFT HYPHEN"),
        ("नि\u200dम@example.com", "ZERO WIDTH JOINER"),
        ("zo\u202eë@example.com", "RIGHT-TO-LEFT OVERRIDE"),
        ("zo\u2066ë@example.com", "LEFT-TO-RIGHT ISOLATE"),
        ("zo\u00a0ë@example.com", "NO-BREAK SPACE"),
        ("zo\u3000ë@example.com", "IDEOGRAPHIC SPACE"),
        ("zo\u0378@example.com", r"U\+0378"),
        ("zo\ue000@example.com", r"U\+E000"),
        ("zo\ufffe@example.com", r"U\+FFFE"),
        ("zo\udcff@example.com", r"U\+DCFF"),
        ("\u0301zoe@example.com", "COMBINING ACUTE ACCENT"),
        ("zoë\uff20bank.example@example.com", "FULLWIDTH COMMERCIAL AT"),
        ("zoë\uff0ccarol@example.com", "FULLWIDTH COMMA"),
        ("zoë\u2025@example.com", "TWO DOT LEADER"),
        ("zoë\uff0b1@example.com", "FULLWIDTH PLUS SIGN"),
        ("zoë\u037ecarol@example.com", "several addresses"),
        ("zoë\u1fef@example.com", None),
        ("דוד+news@example.com", "right to left"),
        ("ali.علي@example.com", "right to left"),
        ("1\u05d3\u05d5\u05d3@example.com", "right to left"),
        ("٣@example.com", "right to left"),
        ("علي٣4@example.com", "right to left"),
        ("H\u0331asan@example.com", "lower case only"),
        ("zoë..x@example.com", "two periods"),
        (".zoë@example.com", "start with a period"),
        ("zoë.@example.com", "immediately before"),
        ("zo ë@example.com", "SPACE|invalid"),
        ('"zo ë"@example.com', "Quoting"),
        ("zoë@[127.0.0.1]", "bracketed IP"),
        ("zoë@localhost", "period"),
        ("zoë@xn--zz.com", "IDNA"),
        ("zoë", "@"),
        ("Zoë <zoë@example.com", "looks like"),
        ("zoë@example.com, x@example.com", "several addresses"),
        ("Zoë\r\nBcc: eve@example.com <zoë@example.com>", "line break"),
    ],
)
def test_what_people_or_programs_would_misread_is_refused_in_words(text, words):
    if words is None:  # the neighbours of what is refused: long enough, and U+1FEF, which is a backtick
        assert parse_address(text)
        return
    with pytest.raises(InvalidAddress, match=words):
        parse_mailbox(text)


local = st.text(
    st.characters(codec="utf-8", categories=("Ll", "Lu", "Lo", "Lm", "Nd", "Mn", "Mc", "So", "Po")),
    min_size=1,
    max_size=24,
)


@given(local, st.sampled_from(["example.com", "bücher.example", "例子.广告", "XN--BCHER-KVA.example"]))
@example("Zoë", "example.com")
@example("\u1e96", "example.com")
@example("H\u0331", "example.com")
@example("ΑΒΣ", "example.com")
def test_whatever_is_taken_stays_as_it_is(local, domain):
    """Taken again it is the same, so is its key; every program that normalises finds nothing to do."""
    try:
        address = parse_address(f"{local}@{domain}")
    except InvalidAddress:
        return
    assert parse_address(address) == address
    assert unicodedata.normalize("NFC", address) == address
    assert address.rpartition("@")[2].isascii()
    assert len(address.rpartition("@")[0].encode()) <= 64
    assert len(address.encode()) <= 254
    key = address_key(address)
    assert parse_address(key) == key
    assert email_key(f"{local}@{domain}") == email_key(key) == key
    assert all(form.count("@") == 1 and "," not in form for form in (address, unicodedata.normalize("NFKC", address)))
    for name in ("", "Zoë", "Müller, Jörg"):
        box = Mailbox(name, address)
        assert parse_mailbox(box.text()) == box
        assert parseaddr(box.text())[1] == address


def body(**changes):
    fields = {"subject": "Hi", "text": "Hello", "to": "zoë@example.com"} | changes
    return EmailBody(from_=fields.pop("from_", "Ada <ada@sender.test>"), **fields)


def test_everywhere_in_a_mail_they_are_taken_and_each_is_one_delivery():
    decomposed = unicodedata.normalize("NFD", "Zoë@example.com")
    found = validate_email(
        body(
            from_="Jörg <jörg@bücher.example>", to=["zoë@example.com", decomposed, "ZOË@example.com"],
            cc="zoË@EXAMPLE.com", bcc=["用户@例子.广告"], reply_to="antwort.jörg@bücher.example",
        )
    )  # fmt: skip
    assert [(one.address, one.role) for one in found.recipients] == [
        ("zoë@example.com", Role.TO), ("ZOË@example.com", Role.TO), ("用户@xn--fsqu00a.xn--4rr70v", Role.BCC),
    ]  # fmt: skip
    assert found.sender_domain == "xn--bcher-kva.example"
    content = found.content
    assert content.sender == "Jörg <jörg@xn--bcher-kva.example>"
    assert content.to == ("zoë@example.com", "ZOË@example.com")
    assert (content.cc, content.reply_to) == (("zoË@example.com",), ("antwort.jörg@xn--bcher-kva.example",))


def test_a_contact_is_written_to_in_the_form_that_it_is_compared_in():
    given_as = unicodedata.normalize("NFD", " Zoë@bücher.example ")
    row = check_contact(ContactBody(email=given_as), [])
    assert (row.email, row.email_key) == ("Zoë@bücher.example", "zoë@xn--bcher-kva.example")
    assert address_of(row.email, row.email_key) == "Zoë@xn--bcher-kva.example"


def test_a_link_to_unsubscribe_names_the_key():
    links = Links("https://mail.example.org", ["the first secret of all"])
    longest = "Ü" * 32 + "@" + ".".join(["b" * 61] * 3) + ".com"
    assert len(parse_address(longest).encode()) == 254
    for one in ("Zoë@example.com", "用户@example.com", longest):
        token = links.of(TENANT, None, UUID(int=3)).link(one).rpartition("/")[2]
        claim = links.read(token)
        assert claim is not None
        assert (claim.topic, claim.address) == (LISTS, address_key(one))


def test_a_list_that_is_written_is_read_back():
    now = datetime.now(UTC)
    keys = [email_key(one) for one in ("ZOË@example.com", "用户@例子.广告", "=ñ@example.com", "ẖ@example.com")]
    file = write_head() + write(Entry(UUID(int=1), key, None, Origin.MANUAL, "manual", None, now) for key in keys)
    reader = Reader()
    entries, bad = reader.feed(file, last=True)
    assert ([one.address for one in entries], bad) == (keys, [])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("550 5.1.1 <zoë@example.com>: no such user", True),
        ('{"to":["Zoë@example.com"]}', True),
        ("„zoë@example.com“ ist voll", True),
        ("žzoë@example.com", False),
        ("用户zoë@example.com", False),
        ("कीzoë@example.com", False),
        ("zoë@example.com.vn", False),
        ("zoe@example.com", False),
    ],
)
def test_an_address_is_found_in_a_text_as_a_word(text, found):
    assert Whose(TENANT, UUID(int=2), "zoë@example.com").within(text) == found
