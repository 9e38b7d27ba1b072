"""Mails with attachments, read back with the standard library's parser."""

import email
import email.policy
from email.message import EmailMessage

import pytest
from msgspec.structs import replace

from mailwarren.contracts.parcel import Attachment, Syntax
from mailwarren.contracts.testing import a_content, a_delivery
from mailwarren.sender.domain.mime import File, build_mail_with_files
from mailwarren.sender.domain.render import Unbuildable, base64_lines
from mailwarren.sender.smtp import prepare_pieces

NOISE = bytes(range(256)) * 40


def a_file(filename="a.bin", data=NOISE, content_type="application/octet-stream", content_id=None):
    attachment = Attachment(filename, content_type, "00" * 32, len(data), content_id)
    return File(attachment, memoryview(base64_lines(data)))


def built(*files, variables=None, **content) -> EmailMessage:
    """As it goes over the wire, with the stuffed dots and the end of data taken away again."""
    delivery = replace(a_delivery(), variables=variables or {})
    parts = build_mail_with_files(a_content(**content), delivery, 1_764_000_000.0, files)
    wire = b"".join(map(bytes, prepare_pieces(parts).parts))
    assert wire.endswith(b"\r\n.\r\n")
    assert max(map(len, wire.split(b"\r\n"))) <= 200
    message = email.message_from_bytes(wire[:-3].replace(b"\r\n..", b"\r\n."), policy=email.policy.default)
    assert not [part.defects for part in message.walk() if part.defects]
    assert wire.isascii()
    return message


def kinds(message) -> list[str]:
    return [part.get_content_type() for part in message.walk()]


def test_a_text_and_a_file():
    message = built(a_file("report.pdf", content_type="application/pdf"), text="Hello\n.dot\n")
    assert kinds(message) == ["multipart/mixed", "text/plain", "application/pdf"]
    body, file = message.iter_parts()
    assert body.get_content() == "Hello\r\n.dot\r\n"
    assert file.get_content() == NOISE
    assert file.get_filename() == "report.pdf"
    assert file.get_content_disposition() == "attachment"


def test_a_template_and_a_file():
    words = {"subject": "Hi {{ name }}", "html": "<p>{{ name }}</p>", "text": None}
    message = built(a_file(), variables={"name": "B&b"}, syntax=Syntax.TEMPLATE, **words)
    assert kinds(message) == ["multipart/mixed", "text/html", "application/octet-stream"]
    body, file = message.iter_parts()
    assert (message["Subject"], body.get_content().strip(), file.get_content()) == ("Hi B&b", "<p>B&amp;b</p>", NOISE)


def test_an_inline_picture_stands_beside_the_html_that_shows_it():
    picture = a_file("logo.png", b"\x89PNG", "image/png", content_id="logo@it")
    html = '<img src="cid:logo@it">'
    message = built(picture, a_file("z.txt", b"end", "text/plain; charset=utf-8"), text="t", html=html)
    assert kinds(message) == [
        "multipart/mixed", "multipart/alternative", "text/plain", "multipart/related", "text/html", "image/png",
        "text/plain",
    ]  # fmt: skip
    shown = next(part for part in message.walk() if part["Content-ID"])
    assert (shown["Content-ID"], shown.get_content_disposition()) == ("<logo@it>", "inline")
    assert shown.get_content() == b"\x89PNG"


def test_only_inline_pictures_make_no_mixed_part():
    assert kinds(built(a_file(content_id="x"), text=None, html="<p>"))[0] == "multipart/related"


def test_without_html_an_inline_file_is_a_file_as_the_others():
    assert kinds(built(a_file(content_id="x"), text="t")) == [
        "multipart/mixed", "text/plain", "application/octet-stream",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "plain.txt",
        'quo"te\\.txt',
        "Bericht März 2026.pdf",
        "報告書.pdf",
        "x" * 200 + ".pdf",
        "ü" * 120 + "%'*.pdf",
        "semi;colon, and=more.txt",
    ],
)
def test_names_of_files_come_back(name):
    (file,) = built(a_file(name)).iter_attachments()
    assert file.get_filename() == name


@pytest.mark.parametrize("size", [0, 1, 56, 57, 58, 114, 10_000])
def test_octets_come_back_whatever_their_number(size):
    data = NOISE[:size]
    first, second = built(a_file("a", data), a_file("b", b"after")).iter_attachments()
    assert first.get_payload(decode=True) == data
    assert second.get_content() == b"after"


def test_the_files_octets_are_not_copied():
    file = a_file(data=b"x" * 100_000)
    parts = build_mail_with_files(a_content(), a_delivery(), 0.0, [file])
    assert [part for part in parts if part is file.encoded]


def test_an_attempt_repeats_the_octets_of_the_one_before():
    delivery, content = a_delivery(), a_content(html="<p>Hi")
    once, again = (build_mail_with_files(content, delivery, 5.0, [a_file(), a_file(content_id="y")]) for _ in "12")
    assert list(map(bytes, once)) == list(map(bytes, again))


@pytest.mark.parametrize("field", ["filename", "content_type", "content_id"])
def test_no_header_can_be_smuggled_in(field):
    values = {"filename": "a", "content_type": "a/b", "content_id": "c"} | {field: "a\r\nBcc: eve@example.test"}
    file = File(Attachment(digest="00" * 32, size=1, **values), memoryview(b"eA==\r\n"))
    with pytest.raises(Unbuildable):
        build_mail_with_files(a_content(html="h"), a_delivery(), 0.0, [file])
