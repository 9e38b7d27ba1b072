"""What may be attached, and how its octets are read."""

import base64
import json
import random

import msgspec
import pytest

from mailwarren.ingest.domain.attachments import (
    BLOCK,
    Limits,
    check_attachments,
    clean_filename,
    read_octets,
    told_type,
    type_of,
)
from mailwarren.ingest.domain.decoding import canonical_with_files
from mailwarren.ingest.domain.refusal import Refusal
from mailwarren.ingest.domain.requests import AttachmentBody

LIMITS = Limits()


def bodies(*attachments: dict) -> list[AttachmentBody]:
    return msgspec.json.decode(json.dumps(attachments), type=list[AttachmentBody])


def refused(**attachment) -> str:
    with pytest.raises(Refusal) as caught:
        check_attachments(bodies(attachment), LIMITS)
    assert caught.value.status == 422
    return caught.value.message


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\ada\\a.txt", "a.txt"),
        ("a\r\nBcc: eve@example.test", "aBcc: eve@example.test"),
        ("a\x00b\x7f.txt", "ab.txt"),
        ("Bericht März.pdf", "Bericht März.pdf"),
        ("u\u0308.txt", "ü.txt"),
        ("fdp.\u202ecod", "fdp.cod"),
        ("  two   words.txt  ", "two words.txt"),
        ("dots...", "dots"),
        (".bashrc", ".bashrc"),
    ],
)
def test_names(given, kept):
    assert clean_filename(given, "f", LIMITS) == kept


@pytest.mark.parametrize("name", ["", ".", "..", "/", "a/", "\r\n", "\u202e", "x" * 256, "ü" * 128])
def test_no_names(name):
    with pytest.raises(Refusal):
        clean_filename(name, "f", LIMITS)


@pytest.mark.parametrize(
    "name", ["a.exe", "A.EXE", "a.pdf.exe", "a.exe.", "a.exe ", "x\u202efdp.exe", "a.e\u200bxe", ".js"]
)
def test_names_of_what_runs_when_it_is_opened(name):
    with pytest.raises(Refusal, match="may not be attached"):
        clean_filename(name, "f", LIMITS)


def test_another_list_of_extensions():
    assert clean_filename("a.exe", "f", Limits(blocked=frozenset({"zip"}))) == "a.exe"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.pdf", "application/pdf"),
        ("a.PNG", "image/png"),
        ("a.csv", "text/csv"),
        ("a", "application/octet-stream"),
        ("a.eml", "application/octet-stream"),
    ],
)
def test_types_by_name(name, kind):
    assert type_of(name) == kind


def test_the_type_that_a_server_says():
    assert told_type("image/webp", "a.png") == "image/webp"
    assert told_type("application/octet-stream", "a.png") == "image/png"
    assert told_type("nonsense\r\n", "a.png") == "image/png"
    assert told_type("message/rfc822", "a.png") == "image/png"
    assert told_type(None, "a.png") == "image/png"


def test_what_is_wrong_is_named():
    assert "exactly one" in refused(filename="a")
    assert "exactly one" in refused(filename="a", content="", path="https://x.test/a")
    assert "attachments[0].filename" in refused(content="")
    assert "content_type" in refused(filename="a", content="", content_type="pdf")
    assert "content_type" in refused(filename="a", content="", content_type="a/b\r\nX: y")
    assert "base64" in refused(filename="a", content="", content_type="message/rfc822")
    assert "content_id" in refused(filename="a", content="", content_id="a b")
    assert "content_id" in refused(filename="a", content="", inline_content_id="ü")
    assert "https://" in refused(path="file:///etc/passwd")
    assert "https://" in refused(path="logo.png")
    assert "user name" in refused(path="https://a:b@x.test/")
    with pytest.raises(Refusal, match="given twice"):
        check_attachments(bodies(*[{"filename": "a", "content": "", "content_id": "<x>"}] * 2), LIMITS)
    with pytest.raises(Refusal, match="Too many attachments: 21"):
        check_attachments(bodies(*[{"filename": "a", "content": ""}] * 21), LIMITS)


def test_a_remote_file_without_a_name_has_that_of_its_address():
    (one,) = check_attachments(bodies({"path": "https://x.test/a/M%C3%A4rz.pdf?x=1"}), LIMITS)
    assert (one.filename, one.content_type) == ("März.pdf", None)
    (one,) = check_attachments(bodies({"path": "https://x.test/"}), LIMITS)
    assert one.filename == "attachment"


def test_a_type_with_parameters():
    (one,) = check_attachments(
        bodies({"filename": "a.ics", "content": "", "content_type": 'text/calendar; method=REQUEST; charset="utf-8"'}),
        LIMITS,
    )
    assert one.content_type == 'text/calendar; method=REQUEST; charset="utf-8"'


OCTETS = random.Random(1).randbytes(BLOCK + 1000)
ENCODED = base64.b64encode(OCTETS).decode()


@pytest.mark.parametrize(
    "written",
    [
        json.dumps(ENCODED),
        json.dumps(ENCODED).replace("/", "\\/"),
        json.dumps("\r\n".join(ENCODED[at : at + 76] for at in range(0, len(ENCODED), 76))),
        json.dumps(list(OCTETS)),
        json.dumps(list(OCTETS), separators=(",", ":")),
        json.dumps({"type": "Buffer", "data": list(OCTETS)}),
    ],
    ids=["plain", "php", "mime", "python", "compact", "javascript"],
)
def test_octets_as_the_sdks_write_them(written):
    assert b"".join(read_octets(memoryview(msgspec.Raw(written.encode())))) == OCTETS


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4])
def test_few_octets(size):
    written = json.dumps(base64.b64encode(OCTETS[:size]).decode()).encode()
    assert b"".join(read_octets(memoryview(written))) == OCTETS[:size]
    assert b"".join(read_octets(memoryview(json.dumps(list(OCTETS[:size])).encode()))) == OCTETS[:size]


@pytest.mark.parametrize(
    "written",
    ['"abc"', '"a"', '"ab=c"', '"data:image/png;base64,aaaa"', '"_-_-"', '"ä"', "7", "true", "[256]", "[-1]", "[1.5]",
     '["a"]', "{}", '{"data":"x"}', '"YQ==YQ=="', "[1,,2]"],
)  # fmt: skip
def test_what_is_no_content(written):
    with pytest.raises(ValueError, match=r"base64|padding"):
        b"".join(read_octets(memoryview(written.encode())))


def test_padding_in_the_middle_of_a_large_text():
    text = "A" * (BLOCK - 4) + "YQ==" + "AAAA"
    with pytest.raises(ValueError, match="padding"):
        b"".join(read_octets(memoryview(json.dumps(text).encode())))


def test_the_same_call_has_the_same_fingerprint():
    def form(**changes) -> bytes:
        body = {"from": "a", "attachments": [{"filename": "f", "content": "YQ=="}]}
        return canonical_with_files(json.dumps(body | changes).encode())

    assert form() == canonical_with_files(b'{"attachments":[{"content":"YQ==","filename":"f"}],"from":"a"}')
    assert form() != form(attachments=[{"filename": "f", "content": "Yg=="}])
    assert form() != form(attachments=[{"filename": "g", "content": "YQ=="}])
    assert form() != form(**{"from": "b"})
