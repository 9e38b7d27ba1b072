"""Reading mails: Message-ID, subject, bodies; and what is kept of them."""

import re
from email.message import EmailMessage
from email.policy import SMTP

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwarren.sink.mailbox import Mail, Mailbox
from mailwarren.sink.message import find_message_id, subject_of, view, wire_faults


@pytest.mark.parametrize(
    ("content", "message_id"),
    [
        (b"Message-ID: <1@x>\r\n\r\nhi\r\n", b"<1@x>"),
        (b"Subject: a\r\nmessage-id:<1@x>  \r\nTo: b\r\n\r\n", b"<1@x>"),
        (b"Message-Id:\r\n <1@x>\r\n\r\n", b"<1@x>"),
        (b"MESSAGE-ID: <1@x>\r\nMessage-ID: <2@x>\r\n\r\n", b"<1@x>"),
        (b"Message-ID: <1@x>", b"<1@x>"),
        (b"Subject: x\r\n\r\nMessage-ID: <1@x>\r\n", b""),
        (b"\r\nMessage-ID: <1@x>\r\n", b""),
        (b"Subject: a\r\n Message-ID: <1@x>\r\n\r\n", b""),
        (b"X-Message-ID: <1@x>\r\n\r\n", b""),
        (b"", b""),
    ],
)
def test_the_message_id_is_found_in_the_header_only(content: bytes, message_id: bytes) -> None:
    assert message_id == find_message_id(content)


def test_an_endless_message_id_is_cut() -> None:
    assert len(find_message_id(b"Message-ID: <" + b"x" * 50_000 + b">\r\n\r\n")) == 998


header_pieces = st.sampled_from(
    [
        b"Message-ID",
        b"message-id",
        b"X-Message-Id",
        b":",
        b": <1@x>",
        b" ",
        b"\t",
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n ",
        b"a",
    ]
)


@given(st.lists(header_pieces, max_size=20).map(b"".join))
def test_the_message_id_is_what_a_pattern_for_the_whole_field_finds(content: bytes) -> None:
    pattern = rb"^message-id[ \t]*:((?:[^\r\n]|\r?\n[ \t])*)"
    head = b"" if content.startswith(b"\r\n") else content.partition(b"\r\n\r\n")[0]
    match = re.search(pattern, head, re.IGNORECASE | re.MULTILINE)
    assert find_message_id(content) == (re.sub(rb"[\r\n]", b"", match[1]).strip() if match else b"")


@given(
    st.lists(st.sampled_from([b"\r\n", b"\r\n", b"\n", b"\r", b"x", b"\x0b\x0c\x85\x1c", b"y" * 998]), max_size=12).map(
        b"".join
    )
)
def test_line_ends_and_long_lines_are_counted_right(content: bytes) -> None:
    expected = {
        "bare_newline": bool(re.search(rb"(?<!\r)\n", content)),
        "bare_return": bool(re.search(rb"\r(?!\n)", content)),
        "long_line": any(len(line) > 998 for line in content.split(b"\r\n")),
    }
    assert {name for name, is_so in expected.items() if is_so} == set(wire_faults(content, eight_bit=True))


@given(st.binary(max_size=200))
def test_no_mail_breaks_the_reading(content: bytes) -> None:
    find_message_id(content)
    wire_faults(content, eight_bit=False)
    for octets in (content, b"Subject: " + content, b"Content-Type: " + content + b"\r\n\r\nx"):
        subject_of(octets).encode()
        view(octets)


def test_subjects_are_decoded() -> None:
    folded = b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n =?utf-8?b?IGF1cyDmnbHkuqw=?=\r\n\r\n"
    assert subject_of(folded) == "Grüße aus 東京"
    assert subject_of(b"subject: plain\r\n\r\n") == "plain"
    assert subject_of(b"To: a\r\n\r\nSubject: no\r\n") == ""
    assert subject_of(b"Subject: =?x-nope?q?a?=\r\n\r\n") == "=?x-nope?q?a?="


def test_a_mail_is_shown_decoded() -> None:
    mail = EmailMessage()
    mail["Subject"] = "Grüße"
    mail["From"] = "Zoë <z@x.test>"
    mail.set_content("Hallo Zoë\n")
    mail.add_alternative("<p>Hallo Zoë</p>\n", subtype="html")
    mail.add_attachment(b"\0\1\2", maintype="application", subtype="pdf", filename="Rechnung.pdf")
    seen = view(mail.as_bytes(policy=SMTP))
    assert (seen.text.strip(), seen.html.strip()) == ("Hallo Zoë", "<p>Hallo Zoë</p>")
    assert seen.headers[0] == ("Subject", "Grüße")
    assert seen.headers[1] == ("From", "Zoë <z@x.test>")
    assert [(p.content_type, p.filename, p.size) for p in seen.parts] == [("application/pdf", "Rechnung.pdf", 3)]


def test_an_unknown_charset_is_shown_as_well_as_it_can_be() -> None:
    assert view(b"Content-Type: text/plain; charset=x-nope\r\n\r\nh\xff").text == "h\ufffd"


def a_mail(n: int, *, to: bytes = b"u@x.test", raw: bytes = b"x" * 10) -> Mail:
    return Mail(n, b"<1>", b"a@x.test", (to,), 1.0, 250, len(raw), n, raw)


def test_the_newest_mails_are_kept() -> None:
    box = Mailbox(3)
    for n in range(5):
        box.add(a_mail(n))
    assert [mail.n for mail in box.newest()] == [4, 3, 2]
    assert [mail.n for mail in box.newest(limit=2)] == [4, 3]
    assert list(box.newest(limit=0)) == []
    assert [mail and mail.n for mail in map(box.get, (-1, 1, 2, 4, 5))] == [None, None, 2, 4, None]


def test_the_memory_of_the_kept_mails_is_bounded() -> None:
    box = Mailbox(1000, largest=100)
    for n in range(50):
        box.add(a_mail(n, raw=b"x" * 30))
    assert len(box) == 3
    box.add(a_mail(50, raw=b"x" * 500))
    assert [mail.n for mail in box.newest()] == [50]


def test_keeping_none_keeps_none() -> None:
    box = Mailbox(0)
    box.add(a_mail(0))
    assert len(box) == 0
    assert box.get(0) is None


def test_mails_are_found_by_recipient_whatever_the_case() -> None:
    box = Mailbox(10)
    box.add(a_mail(0, to=b"Ann@X.test"))
    box.add(a_mail(1, to=b"bob@x.test"))
    assert [mail.n for mail in box.newest(to="ann@x.TEST")] == [0]
    assert [mail.n for mail in box.newest(to="nn@x.test")] == []
