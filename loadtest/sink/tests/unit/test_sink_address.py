"""The arguments of MAIL and RCPT."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwarren.sink.address import Mailbox, Sender, parse_mail, parse_rcpt


@pytest.mark.parametrize(
    ("argument", "address", "domain"),
    [
        (b"TO:<a@x.test>", b"a@x.test", b"x.test"),
        (b"to:<a@X.Test>", b"a@X.Test", b"x.test"),
        (b"TO:<a.b+c=d@mx-1.x.test>", b"a.b+c=d@mx-1.x.test", b"mx-1.x.test"),
        (b'TO:<"a b"@x.test>', b'"a b"@x.test', b"x.test"),
        (rb'TO:<"a\"b>"@x.test>', rb'"a\"b>"@x.test', b"x.test"),
        (b"TO:<a@[192.0.2.1]>", b"a@[192.0.2.1]", b"[192.0.2.1]"),
        (b"TO:<@relay.test,@b.test:a@x.test>", b"a@x.test", b"x.test"),
        (b"TO:<Postmaster>", b"Postmaster", b""),
        (b"TO:<" + b"a" * 64 + b"@x.test>", b"a" * 64 + b"@x.test", b"x.test"),
    ],
)
def test_recipients_are_read_as_given(argument: bytes, address: bytes, domain: bytes) -> None:
    assert Mailbox(address, domain) == parse_rcpt(argument, utf8=False)


@pytest.mark.parametrize(
    "argument",
    [
        b"", b"TO:", b"TO:a@x.test", b"TO: <a@x.test>", b"TO:<>", b"TO:<a>", b"TO:<a@>", b"TO:<@x.test>",
        b"TO:<a@x..test>", b"TO:<a@.test>", b"TO:<a..b@x.test>", b"TO:<.a@x.test>", b"TO:<a@x.test", b"TO:<a b@x.test>",
        b"TO:<a@x.test>junk", b"TO:<a@-x.test>", b"TO:<a@x.test\r>", b"TO:<a\0@x.test>", b"FROM:<a@x.test>",
        b"TO:<" + b"a" * 65 + b"@x.test>", b"TO:<a@" + b"x." * 126 + b"test>",
    ],
)  # fmt: skip
def test_what_is_no_recipient_is_a_syntax_error(argument: bytes) -> None:
    reply = parse_rcpt(argument, utf8=False)
    assert isinstance(reply, bytes)
    assert reply[:6] == b"501 5."


def test_rcpt_has_no_parameters() -> None:
    assert parse_rcpt(b"TO:<a@x.test> NOTIFY=NEVER", utf8=False)[:4] == b"555 "
    assert parse_rcpt(b"TO:<postmaster> X", utf8=False)[:4] == b"555 "


def test_an_address_in_utf8_needs_smtputf8() -> None:
    argument = "TO:<jürgen@MÜLLER.test>".encode()
    assert parse_rcpt(argument, utf8=False)[:9] == b"553 5.6.7"
    assert Mailbox("jürgen@MÜLLER.test".encode(), "müller.test".encode()) == parse_rcpt(argument, utf8=True)
    assert parse_mail("FROM:<jürgen@x.test>".encode(), extended=True)[:9] == b"553 5.6.7"
    sender = parse_mail("FROM:<jürgen@x.test> SMTPUTF8".encode(), extended=True)
    assert Sender("jürgen@x.test".encode(), utf8=True) == sender


@pytest.mark.parametrize(
    ("argument", "sender"),
    [
        (b"FROM:<a@x.test>", Sender(b"a@x.test")),
        (b"From:<>", Sender(b"")),
        (b"FROM:<a@x.test> SIZE=2000", Sender(b"a@x.test", size=2000)),
        (b"FROM:<a@x.test> body=8bitmime size=5", Sender(b"a@x.test", size=5, eight_bit=True)),
        (b"FROM:<a@x.test> BODY=7BIT", Sender(b"a@x.test")),
        (b"FROM:<> SMTPUTF8 AUTH=<>", Sender(b"", utf8=True)),
    ],
)
def test_senders_and_their_parameters_are_read(argument: bytes, sender: Sender) -> None:
    assert sender == parse_mail(argument, extended=True)


@pytest.mark.parametrize(
    ("argument", "code"),
    [
        (b"FROM:", b"501"),
        (b"TO:<a@x.test>", b"501"),
        (b"FROM:<postmaster>", b"501"),
        (b"FROM:<a@x.test> SIZE", b"501"),
        (b"FROM:<a@x.test> SIZE=-1", b"501"),
        (b"FROM:<a@x.test> SIZE=" + b"9" * 21, b"501"),
        (b"FROM:<a@x.test> BODY=BINARYMIME", b"501"),
        (b"FROM:<a@x.test> SMTPUTF8=1", b"501"),
        (b"FROM:<a@x.test> RET=HDRS", b"555"),
    ],
)
def test_bad_senders_and_parameters_are_refused(argument: bytes, code: bytes) -> None:
    assert code == parse_mail(argument, extended=True)[:3]


def test_after_helo_parameters_are_unknown() -> None:
    assert parse_mail(b"FROM:<a@x.test> SIZE=1", extended=False)[:3] == b"555"


@given(st.binary(max_size=300), st.booleans())
def test_no_octets_break_the_parser(argument: bytes, utf8: bool) -> None:
    for result in (parse_rcpt(b"TO:<" + argument, utf8=utf8), parse_mail(b"FROM:" + argument, extended=utf8)):
        if isinstance(result, bytes):
            assert result[:3] in {b"501", b"553", b"555"}
        else:
            # An address never carries what separates lines or fields further on.
            assert not set(result.address) & set(b"\r\n\0")
