"""The arguments of MAIL and RCPT (RFC 5321 §4.1.1.2, §4.1.1.3 and §4.1.2; parameters RFC 1870, 4954, 6152, 6531)."""

import re
from functools import lru_cache
from typing import NamedTuple

from mailwarren.sink import reply as replies

_ATOM = rb"[^\x00-\x20\"(),:;<>@\[\\\]\x7f.]+"
_LOCAL = rb"(?:%s(?:\.%s)*|\"(?:[^\"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*\")" % (_ATOM, _ATOM)
_LABEL = rb"[A-Za-z0-9_\x80-\xff](?:[A-Za-z0-9_\x80-\xff-]*[A-Za-z0-9_\x80-\xff])?"
_DOMAIN = rb"(?:%s(?:\.%s)*|\[[A-Za-z0-9:.-]+\])" % (_LABEL, _LABEL)
# A source route (``@a,@b:``) is read and ignored (RFC 5321 appendix C).
_MAILBOX = rb"(?:@[^:<>\s]+:)?(%s)@(%s)" % (_LOCAL, _DOMAIN)
_PATH = re.compile(rb"<(?:%s)?>(?: +([^\x00-\x1f\x7f]*))?" % _MAILBOX)
_POSTMASTER = re.compile(rb"<(postmaster)>(?: +([^\x00-\x1f\x7f]*))?", re.IGNORECASE)

_LONGEST_LOCAL = 64  # RFC 5321 §4.5.3.1.1
_LONGEST_PATH = 256  # §4.5.3.1.3, with the angle brackets
_BODY_TYPES = {b"7BIT", b"8BITMIME"}


class Sender(NamedTuple):
    """A MAIL command: the reverse-path (empty for ``<>``), the declared size in octets (0: none), declared 8-bit."""

    address: bytes
    size: int = 0
    eight_bit: bool = False
    utf8: bool = False


class Mailbox(NamedTuple):
    """A RCPT command: the forward-path as given, and its domain in lower case (empty for ``<postmaster>``)."""

    address: bytes
    domain: bytes


# Remembered, because one sender sends thousands of mails.
@lru_cache(maxsize=1024)
def parse_mail(argument: bytes, *, extended: bool) -> Sender | bytes:
    """Read what follows ``MAIL ``; ``extended``: the client said EHLO, so parameters are allowed.

    Returns:
        the sender, or the reply that refuses the command.
    """
    if argument[:5].upper() != b"FROM:":
        return replies.SYNTAX
    match = _PATH.fullmatch(argument, 5)
    if match is None or _too_long(match):
        return replies.BAD_SENDER
    local, domain, parameters = match.groups()
    address = b"" if local is None else local + b"@" + domain
    sender: Sender | bytes = Sender(address)
    if parameters:
        sender = _with_parameters(address, parameters) if extended else replies.UNKNOWN_PARAMETER
    if isinstance(sender, Sender) and not address.isascii() and not sender.utf8:
        return replies.NEEDS_SMTPUTF8
    return sender


def parse_rcpt(argument: bytes, *, utf8: bool) -> Mailbox | bytes:
    """Read what follows ``RCPT ``; ``utf8``: MAIL said SMTPUTF8.

    Returns:
        the recipient, or the reply that refuses the command.
    """
    if argument[:3].upper() != b"TO:":
        return replies.SYNTAX
    match = _PATH.fullmatch(argument, 3)
    if match is None and (postmaster := _POSTMASTER.fullmatch(argument, 3)):
        return replies.UNKNOWN_PARAMETER if postmaster[2] else Mailbox(postmaster[1], b"")
    if match is None or match[1] is None or _too_long(match):
        return replies.BAD_RECIPIENT
    local, domain, parameters = match.groups()
    if parameters:
        return replies.UNKNOWN_PARAMETER
    address: bytes = local + b"@" + domain
    if not (utf8 or address.isascii()):
        return replies.NEEDS_SMTPUTF8
    return Mailbox(address, domain.lower() if domain.isascii() else _lower(domain))


def _lower(domain: bytes) -> bytes:
    try:
        return domain.decode("utf-8").lower().encode("utf-8")
    except UnicodeDecodeError:
        return domain


def _too_long(match: re.Match[bytes]) -> bool:
    local, domain = match[1] or b"", match[2] or b""
    return len(local) > _LONGEST_LOCAL or len(local) + len(domain) + 3 > _LONGEST_PATH


def _with_parameters(address: bytes, parameters: bytes) -> Sender | bytes:
    size, eight_bit, utf8 = 0, False, False
    for parameter in parameters.split():
        keyword, _, value = parameter.partition(b"=")
        match keyword.upper():
            case b"SIZE" if value.isdigit() and len(value) <= 20:  # noqa: PLR2004  RFC 1870 §4
                size = int(value)
            case b"BODY" if value.upper() in _BODY_TYPES:
                eight_bit = value.upper() == b"8BITMIME"
            case b"SMTPUTF8" if parameter.upper() == b"SMTPUTF8":
                utf8 = True
            case b"AUTH" if value:
                pass  # whom the mail is from originally (RFC 4954 §5): this server needs no such word
            case b"SIZE" | b"BODY" | b"SMTPUTF8" | b"AUTH":
                return replies.SYNTAX
            case _:
                return replies.UNKNOWN_PARAMETER
    return Sender(address, size, eight_bit, utf8)
