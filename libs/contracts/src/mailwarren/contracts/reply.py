"""What a mail server answered (RFC 5321 §4.2, enhanced codes RFC 3463)."""

from enum import StrEnum

import msgspec


class Command(StrEnum):
    """The command that a reply answers; ``dot`` is the end of mail data."""

    CONNECT = "connect"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    DOT = "dot"


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """One server reply: three-digit ``code``, enhanced code ``x.y.z`` when given, the text of all its lines."""

    code: int
    text: str = ""
    enhanced: str | None = None
    command: Command = Command.DOT

    @property
    def positive(self) -> bool:
        """2yz: the server took it."""
        return 200 <= self.code < 300  # noqa: PLR2004

    @property
    def transient(self) -> bool:
        """4yz: not now (RFC 5321 §4.2.1)."""
        return 400 <= self.code < 500  # noqa: PLR2004

    @property
    def permanent(self) -> bool:
        """5yz: not like this."""
        return 500 <= self.code < 600  # noqa: PLR2004
