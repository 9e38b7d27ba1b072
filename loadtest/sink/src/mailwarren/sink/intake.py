"""Octets in, lines and mail data out: the only place that sees how TCP cut the stream.

Whatever the cuts, the same octets give the same lines and the same data, and the memory held for them is bounded by
the limits, not by the client.
"""

import re

import msgspec

HEAD = 65_536
"""Octets kept of a mail that is over its size limit, and the part of any mail in which its header is looked for."""

_END = b"\r\n.\r\n"
_DOT_LINE = b"\r\n."
_FEW = 1024


class MailData(msgspec.Struct, frozen=True, gc=False):
    """Mail data up to its final dot, dots unstuffed: of a mail over the limit the first ``HEAD`` octets only.

    ``size`` counts octets without the final dot line; without stuffed dots too, unless ``over`` the limit.
    """

    content: bytes
    size: int
    over: bool


TOO_LONG = b"\n"
"""What ``Intake.take_line`` gives for a line over its limit; no line has an LF in it."""


class Intake:
    """Buffers what has arrived until a whole line, or the whole mail data, is there.

    Nearly always all that was there is taken before more arrives. So what arrives is not copied into a buffer of its
    own but is the buffer, until some of it is left over.
    """

    __slots__ = ("_at", "_buffer", "_dropped", "_head", "_scanned", "_skipping")

    def __init__(self) -> None:
        self._buffer: bytes | bytearray = b""
        self._at = 0  # octets of the buffer that were taken
        self._scanned = 0  # where in the buffer an end of data may begin at the earliest
        self._skipping = False  # inside a command line that is already too long
        self._head = b""
        self._dropped = 0  # octets of oversized data that were let go

    def __len__(self) -> int:
        return len(self._buffer) - self._at

    def feed(self, data: bytes) -> None:
        """Add octets from the socket."""
        if not self._buffer:
            self._buffer = data
            return
        if self._at:
            self._buffer = self._buffer[self._at :]
            self._at = 0
        if isinstance(self._buffer, bytes) and len(self._buffer) >= _FEW:
            # To join bytes copies all of them, each time: that would be slow for a large mail in many pieces.
            self._buffer = bytearray(self._buffer)
        self._buffer += data

    def clear(self) -> None:
        """Forget what was not taken yet (RFC 3207 §4.2: nothing from before TLS may count after it)."""
        self._take(len(self._buffer))
        self._skipping = False

    def take_line(self, limit: int) -> bytes | None:
        """The next command line, ended by LF or CRLF, without its end; ``None`` while it is not complete.

        Of a line over ``limit`` octets, ``TOO_LONG`` is all there is.
        """
        buffer, at = self._buffer, self._at
        end = buffer.find(b"\n", at)
        if end < 0:
            if len(buffer) - at > limit:
                self._skipping = True
                self._take(len(buffer))
            return None
        if self._skipping or end - at > limit:
            self._skipping = False
            line = TOO_LONG
        else:
            line = bytes(buffer[at:end]).removesuffix(b"\r")
        self._take(end + 1)
        return line

    def match(self, pattern: re.Pattern[bytes], limit: int) -> re.Match[bytes] | None:
        """Whether what comes next are whole lines that match, of ``limit`` octets at most together; for ``take``."""
        # A match keeps hold of its text, and a bytearray that is held can't grow.
        if self._skipping or isinstance(self._buffer, bytearray):
            return None
        return pattern.match(self._buffer, self._at, self._at + limit)

    def take(self, match: re.Match[bytes]) -> None:
        """Take what ``match`` found."""
        self._take(match.end())

    def begin_data(self) -> None:
        """The next octets are mail data."""
        # The CRLF of the DATA line also begins the first line of the data (RFC 5321 §4.1.1.4): with it in the
        # buffer, an empty mail and a stuffed first line need no case of their own.
        self._buffer = b"\r\n" + self._buffer[self._at :]
        self._at = 0
        self._scanned = 0
        self._head = b""
        self._dropped = 0

    def take_octets(self, most: int) -> bytes:
        """What has arrived, up to ``most`` octets."""
        octets = bytes(self._buffer[self._at : self._at + most])
        self._take(self._at + len(octets))
        return octets

    @property
    def has_data(self) -> bool:
        """Whether any octet of the data has arrived since ``begin_data``."""
        return len(self._buffer) > len(b"\r\n")

    def take_data(self, limit: int) -> MailData | None:
        """The mail data, when its final dot has arrived; over ``limit`` octets most are let go."""
        buffer = self._buffer
        end = buffer.find(_END, self._scanned)
        if end < 0:
            self._scanned = max(0, len(buffer) - len(_END) + 1)
            if self._head or len(buffer) > max(limit, HEAD) + len(_END):
                self._let_go(self._scanned)
            return None
        size = self._dropped + end  # the virtual CRLF in front stands for the real one before the dot
        if size <= limit and buffer.find(_DOT_LINE, 0, end) < 0:
            content = bytes(buffer[2 : end + 2])
            self._take(end + len(_END))
            return MailData(content, len(content), over=False)
        over = size > limit
        wire = self._head or bytes(buffer[: end + 2])
        self._take(end + len(_END))
        if over:
            wire = wire[: HEAD + 2]
        # Taken away after the cut, so that the head does not depend on how much was seen at once.
        content = (wire.replace(_DOT_LINE, b"\r\n") if _DOT_LINE in wire else wire)[2:]
        return MailData(content, size if over else len(content), over)

    def _take(self, end: int) -> None:
        if end == len(self._buffer):
            self._buffer = b""
            self._at = 0
        else:
            self._at = end

    def _let_go(self, count: int) -> None:
        if not self._head:
            self._head = bytes(self._buffer[: HEAD + 2])
        self._dropped += count
        self._buffer = self._buffer[count:]
        self._scanned = 0
