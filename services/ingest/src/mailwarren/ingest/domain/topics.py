"""Topics: subjects of mail that a contact can take or leave."""

from typing import Annotated, NamedTuple
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from mailwarren.store.states import Subscription, Visibility

MAX_TOPICS = 100
"""Of a tenant."""
MAX_NAME = 50
MAX_DESCRIPTION = 200

Name = Annotated[str, Meta(description=f"1 to {MAX_NAME} characters.")]
Description = Annotated[str, Meta(description=f"At most {MAX_DESCRIPTION} characters.")]


class TopicBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``POST /v1/topics``."""

    name: Name
    default_subscription: Annotated[
        Subscription, Meta(description="Of contacts that have not chosen. It cannot be changed later.")
    ]
    description: Description | None = None
    visibility: Annotated[
        Visibility | None,
        Meta(description="`public`: every contact may choose it; `private` (the default): only who is subscribed."),
    ] = None


class TopicChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``PATCH /v1/topics/{id}``: what is left out stays."""

    name: Name | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    visibility: Visibility | UnsetType = UNSET


class Choice(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What a contact chose about a topic."""

    id: UUID
    subscription: Subscription


class Moved(NamedTuple):
    """Addresses that have just left a topic, or all lists, and those that are back."""

    topic: UUID
    gone: list[str]
    back: list[str]
