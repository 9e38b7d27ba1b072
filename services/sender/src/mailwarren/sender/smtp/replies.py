"""Replies of a server, from octets to values (RFC 5321 §4.2.1)."""

import re
from typing import NamedTuple

from mailwarren.contracts.reply import Command, Reply

LONGEST_LINE = 2048
"""Octets; RFC 5321 §4.5.3.1.5 says 512, servers say more."""

MOST_LINES = 128
"""Lines of one reply; the longest honest EHLO has some twenty."""

LONGEST_TEXT = 2000
"""Characters of text kept of a reply."""

_CODES = {b"%d" % code: code for code in range(200, 600)}
_SEPARATORS = frozenset((b" ", b"-", b"\r", b""))
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s+|$)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


class RawReply(NamedTuple):
    """One complete reply as it came: its code, and the text octets of each line."""

    code: int
    lines: tuple[bytes, ...]


class ReplyParser:
    """Cuts the octets of a server into replies, wherever the network split them.

    Attributes:
        broken: Why what came is not SMTP; None while it is. A broken parser reads nothing more.
    """

    __slots__ = ("_code", "_lines", "_partial", "broken")

    def __init__(self) -> None:
        self.broken: str | None = None
        self._partial = b""
        self._code = 0
        self._lines: list[bytes] = []

    @property
    def pending(self) -> bool:
        """True when part of a reply has been read."""
        return bool(self._partial or self._lines)

    def feed(self, data: bytes) -> list[RawReply]:
        """Return the replies completed by ``data``; look at ``broken`` afterwards."""
        replies: list[RawReply] = []
        if self.broken is not None:
            return replies
        if self._partial:
            data = self._partial + data
        *lines, self._partial = data.split(b"\n")
        for line in lines:
            reply = self._take(line)
            if reply is not None:
                replies.append(reply)
            elif self.broken is not None:
                return replies
        if len(self._partial) > LONGEST_LINE:
            self.broken = "a line without an end"
        return replies

    def _take(self, line: bytes) -> RawReply | None:
        """Take one line without its LF; return the reply that it completes."""
        code = _CODES.get(line[:3])
        separator = line[3:4]
        if code is None or separator not in _SEPARATORS or len(line) > LONGEST_LINE:
            self.broken = "a line that is no SMTP reply"
            return None
        lines = self._lines
        if lines and code != self._code:
            self.broken = "a reply whose lines differ in code"
            return None
        text = line[4:].removesuffix(b"\r")
        if separator == b"-":
            if len(lines) >= MOST_LINES:
                self.broken = f"a reply of more than {MOST_LINES} lines"
                return None
            self._code = code
            lines.append(text)
            return None
        if not lines:
            return RawReply(code, (text,))
        self._lines = []
        return RawReply(code, (*lines, text))


def to_reply(raw: RawReply, command: Command) -> Reply:
    """Read the enhanced code (RFC 2034) and the text of ``raw``, which answered ``command``.

    The lines are joined by spaces, since servers wrap sentences over them; the enhanced code that many repeat on each
    line is taken off; control characters become spaces; the text is cut at ``LONGEST_TEXT`` characters.
    """
    enhanced: str | None = None
    texts = []
    for line in raw.lines:
        text = _CONTROL.sub(" ", line.decode("utf-8", "replace")).strip()
        found = _ENHANCED.match(text)
        if found is not None and enhanced in {None, found[1]}:
            enhanced = found[1]
            text = text[found.end() :]
        if text:
            texts.append(text)
    return Reply(code=raw.code, text=" ".join(texts)[:LONGEST_TEXT], enhanced=enhanced, command=command)
