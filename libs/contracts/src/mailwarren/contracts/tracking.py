"""Tracking of opens and clicks: what a parcel says of it, the addresses that a sender makes of that, and hits.

An address is ``<base>/t/o/<token>`` (a pixel) or ``<base>/t/c/<token>`` (a link). A token is the base64url of a *head*
(whose mail, when it was accepted, which event partition), the email, the delivery, what it is for, where the link
leads, and a MAC over all of that. The MAC's key is derived from the secret of ingest and the head, as that of links to
unsubscribe is: a sender has no secret, and an address that leads somewhere else than the mail did is refused.
"""

from base64 import urlsafe_b64encode
from enum import StrEnum
from uuid import UUID

import msgspec

from mailwarren.contracts.unsubscribe import mac_of

PATH = "/t/"
"""Under which ingest answers hits."""
OPEN, CLICK = b"o", b"c"
"""What an address is for: in its path and, signed, in its token."""
LONGEST_LINK = 2048
"""Octets of a link that is tracked; browsers and proxies take addresses of twice that."""


class Tracking(msgspec.Struct, frozen=True, omit_defaults=True):
    """What of a mail is tracked.

    ``opens`` and ``clicks`` are what its call asked for until it is accepted (None: as its domain says) and what is
    done afterwards. ``base`` is what stands before ``/t/``; empty where nothing is tracked. ``head`` and ``key`` are
    the tokens' own.
    """

    opens: bool | None = None
    clicks: bool | None = None
    base: str = ""
    head: bytes = b""
    key: bytes = b""

    def pixel(self, email: UUID, delivery: UUID) -> str:
        """The address of a delivery's pixel."""
        return self._address(OPEN, email, delivery, b"")

    def link(self, email: UUID, delivery: UUID, url: str) -> str:
        """The address that stands in a delivery's mail instead of ``url``."""
        return self._address(CLICK, email, delivery, url.encode())

    def _address(self, use: bytes, email: UUID, delivery: UUID, url: bytes) -> str:
        said = b"".join((self.head, email.bytes, delivery.bytes, use, url))
        token = urlsafe_b64encode(said + mac_of(self.key, said)).rstrip(b"=")
        return f"{self.base}{PATH}{use.decode()}/{token.decode()}"


class HitKind(StrEnum):
    """What was fetched."""

    OPENED = "opened"
    """The pixel of a mail."""
    CLICKED = "clicked"
    """A link of a mail."""


class Flag(StrEnum):
    """Why a hit is perhaps not its reader's."""

    PROXY = "proxy"
    """A mail provider fetched it for its reader, who is not seen. It counts."""
    PREFETCH = "prefetch"
    """A provider or a browser fetched it in advance."""
    BOT = "bot"
    """A program that says so: a link scanner, a preview, a crawler."""
    ODD = "odd"
    """A request as no browser makes it: without a user agent or an Accept header."""
    QUICK = "quick"
    """Within seconds of the delivery, or before it was reported."""


COUNTED: frozenset[Flag | None] = frozenset({None, Flag.PROXY})
"""Hits that count as opens and clicks. The others are recorded and told nobody."""


class Hit(msgspec.Struct, frozen=True, omit_defaults=True):
    """One fetch of an address of a mail. ``at`` and ``accepted_at`` are Unix seconds.

    ``link`` is where a click led. ``agent`` is the user agent, cut. ``ip`` stands there only where a setting keeps it.
    """

    id: UUID
    kind: HitKind
    delivery: UUID
    email_id: UUID
    tenant: UUID
    at: float
    accepted_at: float
    link: str | None = None
    agent: str = ""
    flag: Flag | None = None
    ip: str | None = None


class Hits(msgspec.Struct, frozen=True, tag="hits"):
    """A batch of hits of one partition: one AMQP message."""

    hits: tuple[Hit, ...]


class Count(StrEnum):
    """What is counted of hits, beside :class:`HitKind`."""

    UNIQUE_OPENED = "unique_opened"
    """Deliveries whose first open it was."""
    UNIQUE_CLICKED = "unique_clicked"
    """Deliveries whose first click it was."""
    AUTOMATED = "automated"
    """Hits whose flag says that they do not count."""


UNIQUE = {HitKind.OPENED: Count.UNIQUE_OPENED, HitKind.CLICKED: Count.UNIQUE_CLICKED}
COUNTS: tuple[str, ...] = (*HitKind, *Count)
"""The kinds that hits have in counts per minute."""
