"""A mail that comes by BDAT (RFC 3030 §2): chunk by chunk, each of a size said before, no dots stuffed."""

import re

from mailwarren.sink.intake import HEAD, MailData
from mailwarren.sink.role import Verdict

_ARGUMENT = re.compile(rb"(\d{1,12})(?: +(LAST))?", re.IGNORECASE)


def parse_bdat(argument: bytes) -> tuple[int, bool] | None:
    """The octets that follow, and whether they are the last; None when the argument is none."""
    match = _ARGUMENT.fullmatch(argument)
    return None if match is None else (int(match[1]), match[2] is not None)


class Chunks:
    """What has come so far.

    Attributes:
        left: octets of the present chunk that have not come yet.
        inside: a chunk is coming.
        last: it is the last one.
        refusal: what is said when it has come; None when it is taken.
    """

    def __init__(self) -> None:
        self.left = 0
        self.inside = False
        self.last = False
        self.refusal: Verdict | None = None
        self._content = bytearray()
        self._size = 0

    @property
    def size(self) -> int:
        """Octets so far."""
        return self._size

    def begin(self, size: int, *, last: bool, refusal: Verdict | None) -> None:
        """A chunk follows; it has to be read also where it is refused."""
        self.left, self.last, self.inside = size, last, True
        self.refusal = self.refusal or refusal

    def add(self, octets: bytes, limit: int) -> None:
        """Some octets of it; of a mail over ``limit`` most are let go."""
        self.left -= len(octets)
        self._size += len(octets)
        if self._size <= limit and self.refusal is None:
            self._content += octets
        else:
            del self._content[HEAD:]

    def data(self, limit: int) -> MailData:
        """The whole mail."""
        content = bytes(self._content)
        # As with DATA, what counts is lines: one that does not end does so here.
        if content and not content.endswith(b"\r\n"):
            content += b"\r\n"
        over = self._size > limit
        return MailData(content, self._size if over else len(content), over)
