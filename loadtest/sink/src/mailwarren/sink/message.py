"""Reading a mail: its Message-ID on the fast path, and decoded views for people (RFC 5322, RFC 2045 to 2047)."""

import re
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message

import msgspec

from mailwarren.sink.intake import HEAD

_NAME = b"\nmessage-id"
_MESSAGE_ID = re.compile(rb"message-id[ \t]*:([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)", re.IGNORECASE)
_LONGEST_ID = 998  # a line of a mail (RFC 5322 §2.1.1); what is longer would only fill the memory
_LONGEST_LINE = 998


class Part(msgspec.Struct, frozen=True):
    """A part that is neither the text nor the html of the mail: what it says of itself, and its decoded size."""

    content_type: str
    filename: str | None
    size: int


class View(msgspec.Struct, frozen=True):
    """A mail decoded: header fields in their order, the first text and html bodies, the other parts by name."""

    headers: list[tuple[str, str]]
    text: str | None
    html: str | None
    parts: list[Part]


def as_text(octets: bytes) -> str:
    """Octets from the wire as text that JSON can carry."""
    return octets.decode("utf-8", "backslashreplace")


def find_message_id(content: bytes) -> bytes:
    """The value of the first Message-ID header field, unfolded and trimmed; empty when there is none."""
    end = content.find(b"\r\n\r\n", 0, HEAD)
    if content.startswith(b"\r\n"):
        return b""
    if end < 0:
        end = min(len(content), HEAD)
    # bytes.find is many times faster than a pattern that ignores the case. With the line end in front of them, names
    # of the first line and of the others are found alike, and at the place that they have in the content.
    lines = b"\n" + content[:end].lower()
    at = lines.find(_NAME)
    while at >= 0:
        if match := _MESSAGE_ID.match(content, at, end):
            value = match[1]
            if b"\n" in value:
                value = value.replace(b"\r", b"").replace(b"\n", b"")
            return value.strip()[:_LONGEST_ID]
        at = lines.find(_NAME, at + 1)
    return b""


def wire_faults(content: bytes, *, eight_bit: bool) -> tuple[str, ...]:
    """What a correct client never sends as mail data (RFC 5321 §2.3.8, §4.5.3.1.6, RFC 6152, RFC 5322 §2.2).

    Args:
        content: the mail, dots unstuffed.
        eight_bit: the client declared BODY=8BITMIME or SMTPUTF8.

    Returns:
        names out of ``bare_newline``, ``bare_return``, ``long_line``, ``nul``, ``undeclared_8bit``.
    """
    faults = []
    # A CR, an LF and a CRLF all end a line here: only where each is a CRLF do the ends have two octets each.
    lengths = list(map(len, content.splitlines()))
    if sum(lengths) + 2 * len(lengths) != len(content) or max(lengths, default=0) > _LONGEST_LINE:
        pairs = content.count(b"\r\n")
        if content.count(b"\n") != pairs:
            faults.append("bare_newline")
        if content.count(b"\r") != pairs:
            faults.append("bare_return")
        if max(map(len, content.split(b"\r\n"))) > _LONGEST_LINE:
            faults.append("long_line")
    if b"\0" in content:
        faults.append("nul")
    if not eight_bit and not content.isascii():
        faults.append("undeclared_8bit")
    return tuple(faults)


def subject_of(content: bytes) -> str:
    """The Subject, decoded (RFC 2047); empty when there is none."""
    end = content.find(b"\r\n\r\n", 0, HEAD)
    head = content[: end + 2 if end >= 0 else HEAD]
    return _decoded(message_from_bytes(head).get("Subject", ""))


def view(content: bytes) -> View:
    """Decode a mail for reading. Never fails: what can't be decoded is shown as well as it can be."""
    mail = message_from_bytes(content)
    text: str | None = None
    html: str | None = None
    parts: list[Part] = []
    for part in mail.walk():
        if part.is_multipart():
            continue
        kind, attached = part.get_content_type(), part.get_content_disposition() == "attachment"
        if kind == "text/plain" and text is None and not attached:
            text = _body(part)
        elif kind == "text/html" and html is None and not attached:
            html = _body(part)
        else:
            parts.append(Part(kind, part.get_filename(), len(_payload(part))))
    return View([(name, _decoded(value)) for name, value in mail.items()], text, html, parts)


def _payload(part: Message) -> bytes:
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _body(part: Message) -> str:
    charset = part.get_content_charset("utf-8")
    try:
        return _payload(part).decode(charset, "replace")
    except LookupError:
        return _payload(part).decode("utf-8", "replace")


def _decoded(value: object) -> str:
    # compat32 hands out a Header object for raw 8-bit values, and a str otherwise.
    try:
        decoded = str(make_header(decode_header(value)))  # type: ignore[arg-type]
    except (HeaderParseError, LookupError, UnicodeError, ValueError):
        decoded = str(value)
    unfolded = decoded.replace("\r", "").replace("\n", "")
    return unfolded.encode("utf-8", "replace").decode("utf-8")
