"""The envelope of one transaction, and message data in wire form."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from mailwarren.sender.smtp.domains import ascii_domain

LONGEST_ADDRESS = 320
"""Octets: 64 of local part, ``@``, 255 of domain (RFC 5321 §4.5.3.1)."""

END_OF_DATA = b".\r\n"

# Whatever could end the path, the command or the line, in ASCII and in C1.
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\x9f<>]")


def _path(address: str) -> tuple[bytes, bool]:
    """Encode ``address`` for a command: the octets, and whether they need SMTPUTF8 (RFC 6531)."""
    if _FORBIDDEN.search(address):
        raise ValueError("an address may not hold control characters, spaces or angle brackets")
    local, at, domain = address.rpartition("@")
    if not (at and local and domain):
        raise ValueError("an address needs a local part and a domain")
    if address.isascii():
        encoded, utf8 = address.encode("ascii"), False
    elif local.isascii():
        # A foreign domain alone has an ASCII form that every server understands.
        encoded, utf8 = f"{local}@{ascii_domain(domain)}".encode("ascii"), False
    else:
        encoded, utf8 = address.encode("utf-8"), True
    if len(encoded) > LONGEST_ADDRESS:
        raise ValueError(f"an address may not be longer than {LONGEST_ADDRESS} octets")
    return encoded, utf8


_sender_path = lru_cache(maxsize=2048)(_path)
"""Many mails have the same sender, and there may be a thousand of them."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who a message is from and for (RFC 5321 §2.3.1): one recipient a transaction.

    Args:
        sender: The reverse-path, empty for the null path ``<>``.
        recipient: The forward-path.

    Attributes:
        reverse_path: ``sender`` as octets for MAIL FROM.
        forward_path: ``recipient`` as octets for RCPT TO.
        utf8: True when a local part is not ASCII, so that the server must offer SMTPUTF8.

    Raises:
        ValueError: an address is malformed, too long, or holds what could start another command.
    """

    sender: str
    recipient: str
    reverse_path: bytes = field(init=False, repr=False, compare=False)
    forward_path: bytes = field(init=False, repr=False, compare=False)
    utf8: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Encode and check both paths once."""
        reverse, reverse_utf8 = _sender_path(self.sender) if self.sender else (b"", False)
        forward, forward_utf8 = _path(self.recipient)
        object.__setattr__(self, "reverse_path", reverse)
        object.__setattr__(self, "forward_path", forward)
        object.__setattr__(self, "utf8", reverse_utf8 or forward_utf8)


def prepare_data(message: bytes) -> bytes:
    r"""Return ``message`` as it goes over the wire after DATA: CRLF lines, dots stuffed, final ``.\r\n``.

    A bare CR or LF becomes CRLF, so that no server can read a line end, and with it an end of data, where another
    reads none (RFC 5321 §2.3.8, §4.5.2). Done once per message by the caller, not once per attempt.
    """
    return stuff_dots(end_lines(message)) + END_OF_DATA


def end_lines(message: bytes) -> bytes:
    """``message`` with CRLF at the end of each line, the last one too: what a signature covers."""
    # bytes.splitlines() splits at exactly \n, \r and \r\n.
    return b"\r\n".join(message.splitlines()) + b"\r\n" if message else b""


def stuff_dots(lines: bytes) -> bytes:
    """``lines``, of :func:`end_lines`, with the dots at their beginnings doubled."""
    if lines.startswith(b"."):
        lines = b"." + lines
    return lines.replace(b"\n.", b"\n..") if b"\n." in lines else lines


class Pieces:
    """Message data in wire form that lies in several places, so that many mails can share a large part of it.

    Args:
        parts: What follows each other on the wire, end of data included. Those that are no ``bytes`` hold ASCII.
    """

    __slots__ = ("parts", "size")

    def __init__(self, parts: Sequence[bytes | memoryview]) -> None:
        self.parts = parts
        self.size = sum(map(len, parts))

    def __len__(self) -> int:
        return self.size

    def isascii(self) -> bool:
        """Whether no octet is above 127."""
        return all(part.isascii() for part in self.parts if isinstance(part, bytes))


WireData = bytes | Pieces
"""Message data in wire form."""


def has_utf8_fields(data: WireData) -> bool:
    """Whether the header of a mail in wire form goes beyond ASCII, as only an address makes it (RFC 6532)."""
    if data.isascii():
        return False
    first = bytes(data if isinstance(data, bytes) else data.parts[0])
    head, blank_line, _ = first.partition(b"\r\n\r\n")
    return bool(blank_line) and not head.isascii()


def assemble_data(parts: Sequence[bytes | memoryview]) -> WireData:
    """Message data of ``parts`` in wire form (``stuff_dots``), of which each ends with a line: one piece if it can be.

    Those in memoryviews hold base64.
    """
    if any(isinstance(part, memoryview) for part in parts):
        return Pieces([*parts, END_OF_DATA])
    return b"".join((*parts, END_OF_DATA))


def prepare_pieces(parts: Iterable[bytes | memoryview]) -> Pieces:
    """As ``prepare_data`` for a message in parts, of which each ends with a line and those in memoryviews are base64.

    Base64 has neither dots nor bare line ends, so those parts go out as they are.
    """
    wire = [part if isinstance(part, memoryview) else stuff_dots(end_lines(part)) for part in parts]
    return Pieces([*wire, END_OF_DATA])


def prepare_chunk(data: WireData) -> WireData:
    """Return ``data`` in wire form as one BDAT command with its message (RFC 3030 §2), in which no dots are stuffed."""
    if isinstance(data, bytes):
        message = _unstuffed(data[: -len(END_OF_DATA)])
        return b"BDAT %d LAST\r\n%b" % (len(message), message)
    parts = [_unstuffed(part) if isinstance(part, bytes) else part for part in data.parts[:-1]]
    return Pieces([b"BDAT %d LAST\r\n" % sum(map(len, parts)), *parts])


def _unstuffed(lines: bytes) -> bytes:
    if lines.startswith(b"."):
        lines = lines[1:]
    return lines.replace(b"\n..", b"\n.") if b"\n.." in lines else lines
