"""Octets into UTF-8, in whatever pieces they come; an encoding is known, told, or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwarren.ingest.domain.imports.encoding import ENCODINGS, MAX_LINE, Transcoder, check_encoding
from mailwarren.ingest.domain.refusal import Refusal

TEXT = "email,name\r\nzoe@example.org,Zoë Müller\rbob@example.org,Bob\n"
PLAIN = "email,name\nzoe@example.org,Zoë Müller\nbob@example.org,Bob\n".encode()


def through(data: bytes, told: str | None = None, step: int = 7) -> tuple[str, bytes]:
    """The encoding that was found, and the text."""
    transcoder = Transcoder(told)
    found = [transcoder.feed(data[at : at + step]) for at in range(0, len(data), step)]
    found.append(transcoder.feed(b"", end=True))
    return transcoder.encoding, b"".join(found)


def refused(data: bytes, told: str | None = None, step: int = 60_000) -> str:
    with pytest.raises(Refusal) as caught:
        through(data, told, step)
    assert caught.value.status == 422
    return caught.value.message


@pytest.mark.parametrize("step", [1, 7, 100_000])
@pytest.mark.parametrize(
    ("codec", "name"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8"),
        ("utf-16", "utf-16"),  # with the mark
        ("utf-16-le", "utf-16"),  # without
        ("utf-16-be", "utf-16be"),
        ("utf-32", "utf-32-le"),
    ],
)
def test_unicode_is_known_by_sure_signs(codec: str, name: str, step: int) -> None:
    assert through(TEXT.encode(codec), step=step) == (name, PLAIN)


@pytest.mark.parametrize("name", sorted(set(ENCODINGS) - {"utf-8", "utf-16", "utf-16le", "utf-16be"}))
def test_every_other_encoding_can_be_told(name: str) -> None:
    text = "email\nэ@x\n" if name in {"windows-1251", "koi8-r", "iso-8859-5"} else "email\nbob@example.org\n"
    assert through(text.encode(ENCODINGS[name]), name) == (name, text.encode())


def test_what_is_told_is_believed_and_only_if_it_fits() -> None:
    western = TEXT.encode("cp1252")
    assert through(western, "windows-1252") == ("windows-1252", PLAIN)
    assert through(western, check_encoding(" Latin-1 "))[1] == PLAIN
    assert refused(TEXT.encode("utf-8-sig"), "windows-1252") == (
        "The file begins with the mark of utf-8 and is not windows-1252: leave `encoding` out."
    )
    assert "begins with the mark of utf-8" in refused(TEXT.encode("utf-8-sig"), "utf-16")
    assert through(TEXT.encode("utf-16-be"), "utf-16be")[1] == PLAIN
    assert "line 2 has the octet 0x81" in refused(b"a\n\x81\n", "windows-1252")


@pytest.mark.parametrize("step", [1, 60_000])
def test_another_encoding_is_refused_with_what_to_do(step: int) -> None:
    said = refused(TEXT.encode("latin-1"), step=step)
    assert said.startswith("The file is not utf-8: line 2 has the octet 0xEB. Save it as UTF-8")
    assert "`encoding=windows-1252`" in said


def test_a_long_file_is_refused_by_the_line_that_shows_it() -> None:
    data = b"bob@example.org\n" * 50_000 + "zoë\n".encode("latin-1")
    assert "line 50001 has the octet 0xEB" in refused(data)
    assert "line 1 has the octet 0xC3" in refused(b"x\xc3")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"PK\x03\x04\x14\x00\x06\x00", "an Excel or another ZIP file, not CSV"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel file"),
        (b"%PDF-1.7 and so on", "a PDF"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"email\nbob@example.org\n\x00\x00\n", "line 3 has a NUL character"),
    ],
)
def test_what_is_no_text_is_named(data: bytes, said: str) -> None:
    assert said in refused(data)


def test_a_line_without_end_is_refused_after_a_megabyte() -> None:
    transcoder = Transcoder()
    transcoder.feed(b"email\n")
    for _ in range(MAX_LINE // 65_536):
        transcoder.feed(b"x" * 65_536)
    with pytest.raises(Refusal, match="Line 2 does not end within 1 MB"):
        transcoder.feed(b"x")
    assert through(b"x" * MAX_LINE + b"\n" + b"y" * MAX_LINE, step=65_536)[1].count(b"\n") == 1
    assert "Line 1 does not end" in refused(b"x" * (MAX_LINE + 1) + b"\n" * 9)


def test_an_encoding_that_nobody_knows_is_refused() -> None:
    with pytest.raises(Refusal, match=r"`zlib` is none of utf-8"):
        check_encoding("zlib")
    assert check_encoding("UTF8") == "utf-8"


@given(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=300), st.integers(1, 40))
def test_any_text_comes_out_with_line_feeds_whatever_the_pieces(text: str, step: int) -> None:
    wanted = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").encode()
    assert through(b"\xef\xbb\xbf" + text.removeprefix("\ufeff").encode(), step=step)[1] == wanted
