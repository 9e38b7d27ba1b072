"""From the octets of an upload to UTF-8 with plain line feeds, piece by piece. An encoding is never guessed.

Sure signs are a byte order mark, the zero octets of UTF-16, and that the text is valid UTF-8, which other encodings
with letters outside of ASCII practically never are. Everything else the caller has to say.
"""

import codecs
import io
from collections.abc import Mapping

from mailwarren.ingest.domain.refusal import Refusal, invalid

MAX_LINE = 1024 * 1024
"""Octets of a line in UTF-8. What has none in so many is no CSV."""

ENCODINGS: Mapping[str, str] = {
    "utf-8": "utf-8",
    "utf-16": "utf-16-le",
    "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be",
    **{f"windows-{number}": f"cp{number}" for number in range(1250, 1259)},
    **{f"iso-8859-{number}": f"iso8859-{number}" for number in (1, 2, 5, 7, 9, 13, 15)},
    "macintosh": "mac-roman",
    "koi8-r": "koi8-r",
    "shift_jis": "cp932",
    "gb18030": "gb18030",
    "big5": "cp950",
    "euc-kr": "cp949",
}
"""What a caller may say, with Python's names."""
_ALIASES = {
    "utf8": "utf-8",
    "us-ascii": "utf-8",
    "latin-1": "iso-8859-1",
    "latin1": "iso-8859-1",
    "cp1252": "windows-1252",
}
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""The mark of UTF-32 begins with that of UTF-16."""
_OTHERS = (
    (b"PK\x03\x04", "an Excel or another ZIP file"),
    (b"\xd0\xcf\x11\xe0", "an old Excel file"),
    (b"\x1f\x8b", "a file compressed with gzip"),
    (b"%PDF", "a PDF"),
)
_SIGNS = 64
"""Octets that are enough for every sign."""
_SLICE = 64 * 1024


def check_encoding(name: str) -> str:
    """The name of an encoding that can be said.

    Raises:
        Refusal: 422, with those that can.
    """
    plain = name.strip().lower()
    plain = _ALIASES.get(plain, plain)
    if plain not in ENCODINGS:
        raise invalid(f"Invalid `encoding` field: `{name[:40]}` is none of {', '.join(ENCODINGS)}.")
    return plain


class Transcoder:
    """Takes octets as they come in, and gives them back as UTF-8.

    Args:
        told: an encoding that the caller names, from :data:`ENCODINGS`; None to go by sure signs.
    """

    def __init__(self, told: str | None = None) -> None:
        self._told = told
        self._signs = b""
        self._codec = ""
        self._decoder: codecs.IncrementalDecoder | None = None
        # Carriage returns, alone or before a line feed, are line feeds from here on.
        self._lines = io.IncrementalNewlineDecoder(None, translate=True)
        self._line = 1
        self._run = 0

    @property
    def encoding(self) -> str:
        """What the octets were found to be; ``utf-8`` before anything is known."""
        names = [name for name, codec in ENCODINGS.items() if codec == self._codec]
        return names[0] if names else self._codec or "utf-8"

    def feed(self, data: bytes, *, end: bool = False) -> bytes:
        """The next piece; ``end`` with the last one, which may be empty.

        Raises:
            Refusal: 422: in another encoding, no text, or a line without end.
        """
        if self._decoder is None:
            self._signs += data
            if len(self._signs) < _SIGNS and not end:
                return b""
            data = self._begin()
        found = [self._convert(data[at : at + _SLICE], end=False) for at in range(0, len(data), _SLICE)]
        if end:
            found.append(self._convert(b"", end=True))
        return b"".join(found)

    def _begin(self) -> bytes:
        signs, self._signs = self._signs, b""
        for magic, what in _OTHERS:
            if signs.startswith(magic):
                raise invalid(f"The file is {what}, not CSV: open it, and save or export it as CSV in UTF-8.")
        mark, self._codec = _signs_of(signs, self._told)
        self._decoder = codecs.getincrementaldecoder(self._codec)("strict")
        return signs[len(mark) :]

    def _convert(self, data: bytes, *, end: bool) -> bytes:
        if self._decoder is None:
            return b""
        try:
            text: str = self._lines.decode(self._decoder.decode(data, end), final=end)
        except UnicodeDecodeError as error:
            raise self._wrong(error) from error
        out = text.encode()
        if (at := out.find(b"\x00")) >= 0:
            line = self._line + out[:at].count(b"\n")
            raise invalid(
                f"The file is no text: line {line} has a NUL character. If it is UTF-16, say so: `encoding=utf-16`."
            )
        first, last = out.find(b"\n"), out.rfind(b"\n")
        if self._run + (len(out) if first < 0 else first) > MAX_LINE:
            raise invalid(
                f"Line {self._line} does not end within {MAX_LINE // 1024 // 1024} MB: this is not a CSV file with a"
                " line for each contact."
            )
        self._run = self._run + len(out) if first < 0 else len(out) - 1 - last
        self._line += out.count(b"\n")
        return out

    def _wrong(self, error: UnicodeDecodeError) -> Refusal:
        line = self._line + error.object[: error.start].count(b"\n")
        octet = error.object[error.start]
        said = f"The file is not {self.encoding}: line {line} has the octet 0x{octet:02X}."
        if self._told is not None:
            return invalid(f"{said} Say another `encoding`, or save the file as UTF-8 and say none.")
        return invalid(
            f'{said} Save it as UTF-8 (in Excel: "CSV UTF-8"), or say what it is: `encoding=windows-1252` for most of'
            " Excel's files in the West, iso-8859-1, shift_jis and so on."
        )


def _signs_of(signs: bytes, told: str | None) -> tuple[bytes, str]:
    """The byte order mark, and Python's name of the encoding."""
    codec = None if told is None else ENCODINGS[told]
    for mark, marked in _MARKS:
        if signs.startswith(mark):
            if codec not in {None, marked} and not (told == "utf-16" and marked.startswith(told)):
                raise invalid(f"The file begins with the mark of {marked} and is not {told}: leave `encoding` out.")
            return mark, marked
    if codec is not None:
        return b"", codec
    return b"", _zeros(signs) or "utf-8"


def _zeros(signs: bytes) -> str | None:
    """UTF-16 without a mark: of ASCII every second octet is zero, the others never."""
    even, odd = signs[0:_SIGNS:2], signs[1:_SIGNS:2]
    if len(even) != len(odd) or not even:
        return None
    if all(even) and not any(odd):
        return "utf-16-le"
    return "utf-16-be" if all(odd) and not any(even) else None
