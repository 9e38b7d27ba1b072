"""What a person may ask for about an address: all that is stored of it, or that it be erased (``docs/adr/0039``)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from mailwarren.contracts.address_key import address_key
from mailwarren.contracts.routing import ERASED_DOMAIN
from mailwarren.ingest.domain.addresses import InvalidAddress
from mailwarren.ingest.domain.contacts import email_key
from mailwarren.ingest.domain.refusal import invalid
from mailwarren.ingest.domain.scheduled import Kept
from mailwarren.store.states import PrivacyKind

# Letters, marks and digits beyond ASCII, roughly: a database whose locale is C knows none, and ``\w`` has no marks.
_LETTERS = r"\u00c0-\u1fff\u2c00-\u2fef\u3040-\ud7ff\uf900-\ufeff\uff66-\uffdc\U00010000-\U000323af"
_Email = Annotated[str, Meta(description="The address, in whatever letter case.")]


class PrivacyBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``POST /v1/privacy/requests``."""

    type: Literal["export", "erasure"]
    email: _Email


class AdmitBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``POST /v1/privacy/admit``."""

    email: _Email


def check_email(email: str) -> str:
    """The key of an address in a body.

    Raises:
        Refusal: 422.
    """
    try:
        return email_key(email)
    except InvalidAddress as error:
        raise invalid(f"Invalid `email` field: {error}") from error


@dataclass(frozen=True, slots=True)
class Whose:
    """The address that a request is about.

    Args:
        tenant: whose records.
        request: its id.
        address: its key.
    """

    tenant: UUID
    request: UUID
    address: str

    @property
    def stand_in(self) -> str:
        """What stands where the address stood: nobody's, and another for each erasure."""
        return f"erased-{self.request.hex}@{ERASED_DOMAIN}"

    @property
    def pattern(self) -> str:
        """The address as a word of a text, for Postgres: in no longer address, nor in that of a longer domain."""
        word = re.sub(r"([^a-z0-9@\u0080-\U0010ffff])", r"\\\1", self.address)
        return rf"(?<![[:alnum:]{_LETTERS}._%+-]){word}(?![[:alnum:]-]|\.[[:alnum:]])"

    def within(self, text: str) -> bool:
        """Whether a text has it, as :attr:`pattern` would find it."""
        return _word(self.address).search(text) is not None

    def without(self, text: str) -> str:
        """A text with the stand-in for it."""
        return _word(self.address).sub(self.stand_in, text)

    def is_in(self, mail: Kept) -> bool:
        """Whether an email that is to be sent later goes to it."""
        return any(recipient.key == self.address for recipient in mail.recipients)

    def left_out(self, mail: Kept) -> Kept | None:
        """Such an email without it; None when nobody else gets it."""
        others = tuple(one for one in mail.recipients if one.key != self.address)
        if not others:
            return None
        content = mail.content
        shown = {name: _others(getattr(content, name), self.address) for name in ("to", "cc", "bcc")}
        return replace(mail, recipients=others, content=replace(content, **shown))


def _word(address: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w{_LETTERS}.%+-]){re.escape(address)}(?![\w-]|\.\w)", re.IGNORECASE)


def _others(mailboxes: tuple[str, ...], address: str) -> tuple[str, ...]:
    return tuple(box for box in mailboxes if _address(box) != address)


def _address(mailbox: str) -> str:
    """Of a mailbox as :meth:`.addresses.Mailbox.text` writes it."""
    return address_key(mailbox.rpartition("<")[2].rstrip("> ").strip())


EXPORTED = ("contacts", "suppressions", "unsubscribes", "emails", "scheduled", "import_errors", "webhooks")
"""What an export has, in this order: its files."""
ERASED = ("blocked", "waited", "scheduled", "emails", "import_errors", "webhooks", "answers", "exports")
"""What an erasure does, in this order."""


def stages(kind: PrivacyKind) -> tuple[str, ...]:
    """The stages of a request."""
    return EXPORTED if kind is PrivacyKind.EXPORT else ERASED


def percent(kind: PrivacyKind, stage: int) -> float:
    """How far a request is: stages that are behind it."""
    return round(100 * stage / len(stages(kind)), 1)


def added(counts: Mapping[str, int], stage: str, number: int) -> dict[str, int]:
    """The counts with ``number`` more of a stage."""
    return {**counts, stage: counts.get(stage, 0) + number}


def as_counts(stored: Any) -> dict[str, int]:
    """Counts as their column has them."""
    return dict(msgspec.json.decode(stored, type=dict[str, int]))
