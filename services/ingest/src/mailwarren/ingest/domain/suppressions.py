"""Suppressions: addresses that get none of a tenant's mail, nothing that goes to lists, or nothing about a topic."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, TypeVar
from uuid import UUID

import msgspec
from msgspec import Meta

from mailwarren.contracts.unsubscribe import LISTS
from mailwarren.ingest.domain.addresses import InvalidAddress
from mailwarren.ingest.domain.contacts import email_key
from mailwarren.ingest.domain.cursor import parse_id
from mailwarren.ingest.domain.refusal import invalid, invalid_parameter, missing
from mailwarren.ingest.domain.requests import Moment
from mailwarren.store.states import Origin

W = TypeVar("W", bound=StrEnum)

MAX_BATCH = 100
IMPORTED = "import"
"""The reason of what stood in a file; that of other entries of a person's is ``manual``."""


class Scope(StrEnum):
    """What an address gets none of."""

    ALL = "all"
    """Any mail of the tenant."""
    LISTS = "lists"
    """What goes to lists: bulk mail, broadcasts, and mail with a topic."""
    TOPIC = "topic"
    """Mail about one topic."""


ScopeField = Annotated[
    Scope | None, Meta(description="`all` (the default), or `lists`: only what goes to lists; a topic has its id.")
]
TopicField = Annotated[UUID | None, Meta(description="Only mail about this topic.")]


class SuppressionBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``POST /v1/suppressions``."""

    email: str
    scope: ScopeField = None
    topic_id: TopicField = None
    expires_at: Annotated[Moment | None, Meta(description="Until when; for the scope `all` only.")] = None


class SuppressionsBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``POST /v1/suppressions/batch/add``."""

    emails: Annotated[list[str], Meta(description=f"1 to {MAX_BATCH} addresses.")]
    scope: ScopeField = None
    topic_id: TopicField = None
    expires_at: Annotated[Moment | None, Meta(description="Until when; for the scope `all` only.")] = None


class SuppressionsRemoval(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``POST /v1/suppressions/batch/remove``: ``emails`` or ``ids``."""

    emails: Annotated[list[str] | None, Meta(description=f"1 to {MAX_BATCH} addresses.")] = None
    ids: Annotated[list[UUID] | None, Meta(description=f"1 to {MAX_BATCH} ids.")] = None
    scope: ScopeField = None
    topic_id: TopicField = None


class Entry(msgspec.Struct, frozen=True):
    """A row of the list.

    ``topic`` is None for any mail. ``source`` is the email that bounced, or the call or broadcast whose link was
    followed.
    """

    id: UUID
    address: str
    topic: UUID | None
    origin: Origin
    reason: str
    source: UUID | None
    created_at: datetime
    expires_at: datetime | None = None

    @property
    def scope(self) -> Scope:
        """What the address gets none of."""
        if self.topic is None:
            return Scope.ALL
        return Scope.LISTS if self.topic == LISTS else Scope.TOPIC


class NewEntry(msgspec.Struct, frozen=True):
    """An address to be put on the list: its key, and until when."""

    address: str
    expires_at: datetime | None = None


def topic_of(scope: Scope | None, topic: UUID | None) -> UUID | None:
    """The topic that a scope comes to: None for any mail, ``LISTS`` for all lists.

    Raises:
        Refusal: 422, they contradict each other.
    """
    if scope is Scope.TOPIC and topic is None:
        raise missing("Missing `topic_id` field: the scope is `topic`.")
    if topic is not None:
        if scope not in {None, Scope.TOPIC}:
            raise invalid(f"Invalid `scope` field: with a `topic_id` it is `topic`, not `{scope}`.")
        return topic
    return LISTS if scope is Scope.LISTS else None


def asked_topic(query: Mapping[str, str]) -> UUID | None:
    """The same of a query string.

    Raises:
        Refusal: 422.
    """
    scope = _word(Scope, query["scope"], "scope") if "scope" in query else None
    return topic_of(scope, parse_id(query["topic_id"], "topic_id") if "topic_id" in query else None)


def asked_origin(query: Mapping[str, str]) -> Origin | None:
    """The origin that a list is narrowed to.

    Raises:
        Refusal: 422.
    """
    return _word(Origin, query["origin"], "origin") if "origin" in query else None


def check_emails(emails: Sequence[str], field: str = "emails") -> list[str]:
    """The keys of addresses, each once, in the order of their first.

    Raises:
        Refusal: 422 naming the element.
    """
    if not emails:
        raise missing(f"Missing `{field}` field: give at least one.")
    if len(emails) > MAX_BATCH:
        raise invalid(f"Invalid `{field}` field: {len(emails)} addresses; at most {MAX_BATCH} are taken.")
    return list(dict.fromkeys(check_email(email, f"{field}[{index}]") for index, email in enumerate(emails)))


def check_email(email: str, field: str = "email") -> str:
    """The key of an address.

    Raises:
        Refusal: 422 naming the field.
    """
    try:
        return email_key(email)
    except InvalidAddress as error:
        raise invalid(f"Invalid `{field}` field: {error}") from error


def check_end(expires_at: datetime | None, topic: UUID | None, now: datetime) -> datetime | None:
    """Until when an entry is to hold.

    Raises:
        Refusal: 422, it is over, or nothing that ends.
    """
    if expires_at is None:
        return None
    if topic is not None:
        raise invalid("Invalid `expires_at` field: who leaves a list has left it until they come back.")
    if expires_at <= now:
        raise invalid("Invalid `expires_at` field: it is in the past.")
    try:
        return expires_at.astimezone(UTC)
    except OverflowError as error:
        # The last hours of the year 9999, west of Greenwich.
        raise invalid("Invalid `expires_at` field: it is too far ahead; without it an entry holds for ever.") from error


def parse_entry(text: str) -> UUID | str:
    """An entry in a path: its id, or the key of its address.

    Raises:
        Refusal: 422, neither.
    """
    if "@" in text:
        try:
            return email_key(text)
        except InvalidAddress as error:
            raise invalid_parameter(f"The address in the path cannot be one of mail: {error}") from error
    try:
        return UUID(text)
    except ValueError as error:
        raise invalid_parameter(
            f"A suppression is named by its id or its email address; `{text[:80]}` is neither."
        ) from error


def _word(kind: type[W], text: str, name: str) -> W:
    try:
        return kind(text)
    except ValueError as error:
        words = ", ".join(kind)
        raise invalid_parameter(f"The `{name}` parameter is one of {words}; `{text[:80]}` is none.") from error
