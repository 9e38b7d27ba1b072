"""From a content and a delivery to the bytes of the mail (DESIGN §4, stop 8): RFC 5322 with MIME (RFC 2045 to 2047).

Built on bytes by hand: the standard library's message classes cost 2.9 ms a mail, this some tens of microseconds
(they serve as oracles in the tests). Everything is fixed by the parcel (Date, Message-ID, boundary), so an attempt
repeats the bytes of the one before.
"""

import re
from base64 import b64encode
from binascii import b2a_qp
from datetime import UTC, datetime
from email.header import Header
from email.utils import format_datetime, parseaddr
from functools import lru_cache

from mailwarren.contracts.parcel import Content, Delivery, Role, Syntax
from mailwarren.contracts.template import render

LONGEST_LINE = 998
"""Octets in a line without its CRLF (RFC 5322 §2.1.1)."""
LONGEST_PLAIN_LINE = 900
"""The same for a body that is sent as it is: servers break lines before 998, in the middle of a word: Sendmail at 990,
Haraka at 992."""
_FOLD = 76
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_SPECIALS = re.compile(r'[()<>@,:;".\[\]\\]')


class Unbuildable(ValueError):
    """The mail cannot be built from what the parcel says; it fails with this text."""


def build_mail(content: Content, delivery: Delivery, accepted_at: float) -> bytes:
    """The whole mail with CRLF line ends, not dot-stuffed.

    Raises:
        TemplateProblem: the template fails with this delivery's variables.
        Unbuildable: a rendered header holds a line break.
    """
    subject, html, text = _filled(content, delivery)
    lines = [
        f"From: {mailbox_field(content.sender)}",
        *_recipients(content, delivery),
        f"Subject: {_unstructured(subject, 'Subject')}",
        f"Date: {_date(int(accepted_at))}",
        f"Message-ID: <{delivery.message_id}>",
    ]
    if content.reply_to:
        lines.append(f"Reply-To: {_mailbox_list(content.reply_to)}")
    lines += [f"{name}: {_unstructured(value, name)}" for name, value in content.headers.items()]
    lines.append("MIME-Version: 1.0")
    head = "\r\n".join(lines).encode()
    if html is not None and text is not None:
        boundary = f"=_{delivery.id.hex}"
        parts = (_part("plain", text), _part("html", html))
        body = b"".join(b"--%s\r\n%s\r\n" % (boundary.encode(), part) for part in parts)
        kind = f'Content-Type: multipart/alternative; boundary="{boundary}"'.encode()
        return b"%s\r\n%s\r\n\r\n%s--%s--\r\n" % (head, kind, body, boundary.encode())
    part = _part("html", html) if html is not None else _part("plain", text or "")
    return b"%s\r\n%s" % (head, part)


def _filled(content: Content, delivery: Delivery) -> tuple[str, str | None, str | None]:
    if content.syntax is Syntax.LITERAL:
        return content.subject, content.html, content.text
    values = delivery.variables
    subject = render(content.subject, values, html=False)
    if re.search(r"[\r\n\0]", subject):
        raise Unbuildable("a variable brings a line break into the subject")
    html = None if content.html is None else render(content.html, values, html=True)
    text = None if content.text is None else render(content.text, values, html=False)
    return subject, html, text


def _recipients(content: Content, delivery: Delivery) -> list[str]:
    if not content.to and not content.cc:
        if delivery.role is Role.BCC:
            return ["To: undisclosed-recipients:;"]
        return [f"To: {mailbox_field(delivery.mailbox or delivery.to)}"]
    fields = []
    if content.to:
        fields.append(f"To: {_mailbox_list(content.to)}")
    if content.cc:
        fields.append(f"Cc: {_mailbox_list(content.cc)}")
    return fields


@lru_cache(maxsize=1024)
def mailbox_field(mailbox: str) -> str:
    """A mailbox as a header shows it: the name encoded (RFC 2047) or quoted where it must be."""
    name, address = parseaddr(mailbox)
    if not name:
        return address or mailbox
    if name.isascii():
        if _SPECIALS.search(name):
            escaped = name.replace("\\", "\\\\").replace('"', '\\"')
            return f'"{escaped}" <{address}>'
        return f"{name} <{address}>"
    return f"{_encoded(name, 0)} <{address}>"


def _mailbox_list(mailboxes: tuple[str, ...]) -> str:
    # One a line: fifty recipients stay far below the line limit.
    return ",\r\n ".join(mailbox_field(one) for one in mailboxes)


def _unstructured(value: str, name: str) -> str:
    used = len(name) + 2
    longest_word = max(map(len, value.split(" ")))
    if not value.isascii() or _CONTROL.search(value) or used + longest_word > LONGEST_LINE:
        return _encoded(value, used)
    if used + len(value) <= _FOLD or " " not in value:
        return value
    return Header(value, header_name=name, maxlinelen=_FOLD).encode(linesep="\r\n")


def _encoded(value: str, used: int) -> str:
    return Header(value, "utf-8", header_name="x" * used if used else None, maxlinelen=_FOLD).encode(linesep="\r\n")


@lru_cache(maxsize=64)
def _date(second: int) -> str:
    return format_datetime(datetime.fromtimestamp(second, UTC))


def _part(subtype: str, text: str) -> bytes:
    encoding, body = encode_body(text)
    return b"Content-Type: text/%s; charset=utf-8\r\nContent-Transfer-Encoding: %s\r\n\r\n%s" % (
        subtype.encode(),
        encoding.encode(),
        body,
    )


def encode_body(text: str) -> tuple[str, bytes]:
    """The transfer encoding and the encoded body: as it is where that is allowed, else whichever is shorter.

    7bit needs ASCII and short lines (RFC 2045 §2.7). 8bit is never used: not every next hop takes it.
    """
    data = text.replace("\r\n", "\n").replace("\r", "\n").encode()
    if not data.endswith(b"\n"):
        data += b"\n"
    if data.isascii() and max(map(len, data.split(b"\n"))) <= LONGEST_PLAIN_LINE and b"\0" not in data:
        return "7bit", data.replace(b"\n", b"\r\n")
    high = sum(1 for byte in data if byte > 126) if len(data) < 4096 else _sampled_high(data)  # noqa: PLR2004
    if high * 6 < len(data):
        return "quoted-printable", b2a_qp(data, istext=True).replace(b"\n", b"\r\n")
    coded = b64encode(data.replace(b"\n", b"\r\n"))
    return "base64", b"".join(coded[at : at + _FOLD] + b"\r\n" for at in range(0, len(coded), _FOLD))


def _sampled_high(data: bytes) -> int:
    sample = data[:: max(1, len(data) // 2048)]
    return sum(1 for byte in sample if byte > 126) * len(data) // len(sample)  # noqa: PLR2004
