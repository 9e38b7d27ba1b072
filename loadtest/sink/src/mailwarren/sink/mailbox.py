"""The newest mails whole, for people and tests that want to read them; bounded by number and by octets."""

from collections import deque
from collections.abc import Iterator

import msgspec

from mailwarren.sink.message import as_text, subject_of

LARGEST = 512 * 1024 * 1024
"""Octets of raw mails kept at most, whatever their number."""


class Mail(msgspec.Struct, frozen=True, gc=False):
    """One mail as it was received: envelope, raw octets (dots unstuffed), and the number of its first record."""

    n: int
    message_id: bytes
    sender: bytes
    recipients: tuple[bytes, ...]
    received_at: float
    code: int
    size: int
    record: int
    raw: bytes


class Summary(msgspec.Struct, frozen=True, rename={"sender": "from", "recipients": "to"}):
    """A kept mail in a list: ``from`` and ``to`` are the envelope's, ``answered_at`` as in the records."""

    n: int
    message_id: str
    sender: str
    recipients: list[str]
    subject: str
    received_at: float
    answered_at: float | None
    size: int
    code: int


class Mailbox:
    """Mails by number, the oldest of which go when there are too many."""

    def __init__(self, keep: int, *, largest: int = LARGEST) -> None:
        self._keep = keep
        self._largest = largest
        self._mails: deque[Mail] = deque()
        self._octets = 0

    def __len__(self) -> int:
        return len(self._mails)

    def add(self, mail: Mail) -> None:
        """Keep a mail; numbers must grow by one."""
        if not self._keep:
            return
        self._mails.append(mail)
        self._octets += len(mail.raw)
        while len(self._mails) > self._keep or (self._octets > self._largest and len(self._mails) > 1):
            self._octets -= len(self._mails.popleft().raw)

    def get(self, n: int) -> Mail | None:
        """Mail number ``n``, if it is still kept."""
        first = self._mails[0].n if self._mails else 0
        return self._mails[n - first] if 0 <= n - first < len(self._mails) else None

    def newest(self, *, to: str = "", limit: int = 100) -> Iterator[Mail]:
        """The newest mails first, with ``to`` only those for that RCPT TO address (case does not matter)."""
        wanted = to.lower()
        found = 0
        for mail in reversed(self._mails):
            if found == limit:
                return
            if not to or any(as_text(recipient).lower() == wanted for recipient in mail.recipients):
                found += 1
                yield mail


def summarize(mail: Mail, *, answered_at: float | None) -> Summary:
    """A kept mail for a list."""
    return Summary(
        n=mail.n,
        message_id=as_text(mail.message_id),
        sender=as_text(mail.sender),
        recipients=[as_text(recipient) for recipient in mail.recipients],
        subject=subject_of(mail.raw),
        received_at=mail.received_at,
        answered_at=answered_at,
        size=mail.size,
        code=mail.code,
    )
