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

from mailwarren.contracts.parcel import Content, Delivery, Parcel, Role, Syntax
from mailwarren.contracts.template import render
from mailwarren.contracts.unsubscribe import VARIABLES
from mailwarren.sender.domain.tracked import track

LONGEST_LINE = 998
"""Octets in a line without its CRLF (RFC 5322 §2.1.1)."""
LONGEST_PLAIN_LINE = 900
"""The same for a body that is sent as it is: servers break lines before 998, in the middle of a word: Sendmail at 990,
Haraka at 992."""
_FOLD = 76
_ASCII = bytes(range(128))
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# What a header shows as it is: nearly every mailbox, at a twentieth of what parseaddr() costs.
_PLAIN_MAILBOX = re.compile(
    r"[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*@[a-z0-9.-]+|(?:[a-z0-9]+ )+<[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*@[a-z0-9.-]+>",
    re.IGNORECASE | re.ASCII,
)
_LEAVING = frozenset({"list-unsubscribe", "list-unsubscribe-post"})
_SPECIALS = re.compile(r'[()<>@,:;".\[\]\\]')


class Unbuildable(ValueError):
    """The mail cannot be built from what the parcel says; it fails with this text."""


def build_mail(content: Content, delivery: Delivery, accepted_at: float, leave: str = "") -> bytes:
    """The whole mail with CRLF line ends, not dot-stuffed.

    Args:
        content: what it says.
        delivery: to whom.
        accepted_at: its date, Unix seconds.
        leave: the reader's link to unsubscribe, if there is one.

    Raises:
        TemplateProblem: the template fails with this delivery's variables.
        Unbuildable: a rendered header holds a line break, or an address a control character.
    """
    subject, html, text = fill(content, delivery, leave)
    return write_head(content, delivery, accepted_at, subject, leave) + write_body(html, text, delivery.id.hex)


def write_body(html: str | None, text: str | None, ident: str) -> bytes:
    """A body with its header fields; ``ident`` makes its boundary one that it does not hold."""
    if html is not None and text is not None:
        boundary = b"=_" + ident.encode()
        kind = b'Content-Type: multipart/alternative; boundary="%b"' % boundary
        plain, rich = text_part(b"plain", text), text_part(b"html", html)
        return b"%b\r\n\r\n--%b\r\n%b\r\n--%b\r\n%b\r\n--%b--\r\n" % (
            kind, boundary, plain, boundary, rich, boundary,
        )  # fmt: skip
    return text_part(b"html", html) if html is not None else text_part(b"plain", text or "")


def write_head(content: Content, delivery: Delivery, accepted_at: float, subject: str, leave: str = "") -> bytes:
    """The mail's own header fields, without those of its body."""
    before, after = _fixed_fields(content.sender, content.reply_to, tuple(content.headers.items()), int(accepted_at))
    # RFC 8058 §3.1. Whoever gives such a header answers for it.
    if leave and not any(name.lower() in _LEAVING for name in content.headers):
        after = f"List-Unsubscribe: <{leave}>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n{after}"
    return (
        f"{before}{_recipients(content, delivery)}Subject: {_unstructured(subject, 'Subject')}\r\n"
        f"Message-ID: <{delivery.message_id}>\r\n{after}"
    ).encode()


# The mails of a bulk call differ in none of these, and there may be a thousand domains that send.
@lru_cache(maxsize=1024)
def _fixed_fields(
    sender: str, reply_to: tuple[str, ...], headers: tuple[tuple[str, str], ...], second: int
) -> tuple[str, str]:
    """The header fields before the recipients, and those after the Message-ID."""
    date = format_datetime(datetime.fromtimestamp(second, UTC))
    lines = [f"Reply-To: {_mailbox_list(reply_to)}"] if reply_to else []
    lines += [f"{name}: {_unstructured(value, name)}" for name, value in headers]
    lines.append("MIME-Version: 1.0")
    return f"From: {mailbox_field(sender)}\r\nDate: {date}\r\n", "".join(f"{line}\r\n" for line in lines)


def fill(content: Content, delivery: Delivery, leave: str = "") -> tuple[str, str | None, str | None]:
    """Subject, html and text as this delivery has them; arguments and errors as :func:`build_mail`."""
    if content.syntax is Syntax.LITERAL:
        return content.subject, _tracked(content, content.html, delivery, leave), content.text
    values = {**delivery.variables, **dict.fromkeys(VARIABLES, leave)} if leave else delivery.variables
    subject = render(content.subject, values, html=False)
    if re.search(r"[\r\n\0]", subject):
        raise Unbuildable("a variable brings a line break into the subject")
    html = None if content.html is None else render(content.html, values, html=True)
    text = None if content.text is None else render(content.text, values, html=False)
    return subject, _tracked(content, html, delivery, leave), text


def is_tracked(content: Content) -> bool:
    """Whether each delivery of a content has an html of its own, whatever its syntax."""
    return content.tracking is not None and bool(content.tracking.base) and content.html is not None


def _tracked(content: Content, html: str | None, delivery: Delivery, leave: str) -> str | None:
    if html is None or content.tracking is None or not content.tracking.base:
        return html
    return track(html, content.tracking, delivery, leave, shared=content.syntax is Syntax.LITERAL)


def leave_link(parcel: Parcel, delivery: Delivery) -> str:
    """Where the reader of a delivery can unsubscribe; empty when nothing is made for that."""
    return "" if parcel.unsubscribe is None else parcel.unsubscribe.link(delivery.to)


def _recipients(content: Content, delivery: Delivery) -> str:
    if not content.to and not content.cc:
        if delivery.role is Role.BCC:
            return "To: undisclosed-recipients:;\r\n"
        return f"To: {mailbox_field(delivery.mailbox or delivery.to)}\r\n"
    to = f"To: {_mailbox_list(content.to)}\r\n" if content.to else ""
    return f"{to}Cc: {_mailbox_list(content.cc)}\r\n" if content.cc else to


def mailbox_field(mailbox: str) -> str:
    """A mailbox as a header shows it: the name encoded (RFC 2047) or quoted where it must be."""
    return mailbox if _PLAIN_MAILBOX.fullmatch(mailbox) else _parsed_mailbox_field(mailbox)


@lru_cache(maxsize=1024)
def _parsed_mailbox_field(mailbox: str) -> str:
    if _CONTROL.search(mailbox):
        raise Unbuildable("an address holds a control character")
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


def text_part(subtype: bytes, text: str) -> bytes:
    """A body of text with its header fields."""
    encoding, body = encode_body(text)
    return b"Content-Type: text/%b; charset=utf-8\r\nContent-Transfer-Encoding: %b\r\n\r\n%b" % (
        subtype,
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
    high = 0
    if data.isascii():
        if max(map(len, data.split(b"\n"))) <= LONGEST_PLAIN_LINE and b"\0" not in data:
            return "7bit", data.replace(b"\n", b"\r\n")
    else:
        high = len(data.translate(None, _ASCII))
    if high * 6 < len(data):
        return "quoted-printable", b2a_qp(data, istext=True).replace(b"\n", b"\r\n")
    return "base64", base64_lines(data.replace(b"\n", b"\r\n"))


def base64_lines(data: bytes) -> bytes:
    """Base64 in lines of 76 characters (RFC 2045 §6.8)."""
    coded = b64encode(data)
    return b"".join([coded[at : at + _FOLD] + b"\r\n" for at in range(0, len(coded), _FOLD)])
