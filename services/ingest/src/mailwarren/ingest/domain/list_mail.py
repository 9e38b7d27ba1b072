"""Mail that goes to lists: in the bulk lane, or about a topic. Its readers may leave."""

from collections.abc import Iterable, Mapping
from uuid import UUID

import msgspec

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.unsubscribe import LISTS, Unsubscribe
from mailwarren.ingest.domain.email import SendEmail
from mailwarren.ingest.domain.refusal import invalid
from mailwarren.ingest.domain.unsubscribe_links import Links

NOBODY: frozenset[str] = frozenset()


class Left(msgspec.Struct, frozen=True):
    """Who of the recipients of a call has left, and how the others can.

    ``who`` are addresses in lower case by the topic that they left; under
    :data:`~mailwarren.contracts.unsubscribe.LISTS` those who get nothing that goes to lists. ``source`` is the call.
    """

    links: Links
    tenant: UUID
    source: UUID
    who: Mapping[UUID, frozenset[str]] = {}
    broadcast: bool = False
    """All of it goes to a list, in whichever lane."""

    def of(self, email: SendEmail) -> tuple[Unsubscribe | None, frozenset[str]]:
        """What the parcels of an email say, and who gets none of it."""
        if not self.broadcast and not goes_to_list(email):
            return None, NOBODY
        return self.links.of(self.tenant, email.topic, self.source), self.who.get(email.topic or LISTS, NOBODY)


def goes_to_list(email: SendEmail) -> bool:
    """Whether an email is one of many of its kind."""
    return email.lane is Lane.BULK or email.topic is not None


def by_topic(emails: Iterable[SendEmail]) -> dict[UUID, set[str]]:
    """The keys of the addresses of mail that goes to lists, by its topic or under ``LISTS``."""
    found: dict[UUID, set[str]] = {}
    for email in emails:
        if goes_to_list(email):
            addresses = found.setdefault(email.topic or LISTS, set())
            addresses.update(recipient.key for recipient in email.recipients)
    return found


def check_link(*, listed: bool, made: bool) -> None:
    """Refuse a content that shows its reader's link to unsubscribe where none is made.

    Args:
        listed: the mail goes to a list.
        made: this installation makes links.

    Raises:
        Refusal: 422.
    """
    if not made:
        raise invalid(
            "Invalid content: `UNSUBSCRIBE_URL` needs MAILWARREN_PUBLIC_URL and MAILWARREN_LINK_KEYS, which this "
            "installation has not set."
        )
    if not listed:
        raise invalid(
            "Invalid content: `UNSUBSCRIBE_URL` is for mail that goes to a list: with a `topic_id`, or the `priority` "
            "bulk."
        )
