"""Contacts: people that a tenant may write to. One address is one contact, in whatever letter case it is given."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from mailwarren.contracts.address_key import address_key
from mailwarren.ingest.domain.addresses import InvalidAddress, composed, parse_address
from mailwarren.ingest.domain.properties import Property, Value, check_values
from mailwarren.ingest.domain.refusal import invalid, invalid_parameter
from mailwarren.ingest.domain.segments import SegmentRef
from mailwarren.ingest.domain.texts import check_text
from mailwarren.ingest.domain.topics import Choice

MAX_NAME = 256
"""Characters of a first or last name."""

_Name = Annotated[str, Meta(description=f"At most {MAX_NAME} characters.")]
_Values = Annotated[dict[str, Any], Meta(description="Values of declared contact properties by their keys.")]
_Audience = Annotated[UUID | None, Meta(description="Of the older paths: the audience that the path names.")]


class ContactBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``POST /v1/contacts``."""

    email: str
    first_name: _Name | None = None
    last_name: _Name | None = None
    unsubscribed: Annotated[bool | None, Meta(description="From everything but what is not sent to a list.")] = None
    properties: _Values | None = None
    segments: list[SegmentRef] | None = None
    topics: list[Choice] | None = None
    audience_id: _Audience = None


class ContactChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``PATCH /v1/contacts/{contact}``: what is left out stays, null takes a name or a property's value away.

    ``id`` and ``email`` say whom the path names; an address cannot be changed.
    """

    id: UUID | None = None
    email: str | None = None
    first_name: _Name | UnsetType | None = UNSET
    last_name: _Name | UnsetType | None = UNSET
    unsubscribed: bool | UnsetType = UNSET
    properties: _Values | None = None
    audience_id: _Audience = None


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """A contact as it is stored; ``properties`` by the place of their property."""

    id: UUID
    email: str
    email_key: str
    first_name: str | None
    last_name: str | None
    unsubscribed: bool
    properties: dict[str, Value]
    created_at: datetime


class ContactRow(msgspec.Struct, frozen=True, kw_only=True):
    """A contact to be made or brought up to date: what is None stays as it is.

    ``properties`` by the place of their property (:func:`mailwarren.ingest.domain.properties.check_values`).
    """

    email: str
    email_key: str
    first_name: str | None = None
    last_name: str | None = None
    unsubscribed: bool | None = None
    properties: dict[str, Value] = {}


class Recipient(msgspec.Struct, frozen=True, kw_only=True):
    """A member of a segment that may be written to. ``properties`` by their keys, with fallbacks."""

    id: UUID
    address: str
    first_name: str | None
    last_name: str | None
    properties: dict[str, Value]


def email_key(email: str) -> str:
    """What makes an address the same as another: :mod:`mailwarren.contracts.address_key` of it as mail is sent to it.

    Raises:
        InvalidAddress: no mail can be sent to it.
    """
    return address_key(parse_address(email))


def check_contact(body: ContactBody, declared: Sequence[Property]) -> ContactRow:
    """A contact as it can be stored.

    Raises:
        Refusal: 422 naming the field.
    """
    checked = check_values(body.properties, declared)
    return ContactRow(
        email=composed(body.email.strip()),
        email_key=_key(body.email),
        first_name=check_person(body.first_name, "first_name"),
        last_name=check_person(body.last_name, "last_name"),
        unsubscribed=body.unsubscribed,
        properties={place: value for place, value in checked.items() if value is not None},
    )


def check_person(name: str | None, field: str) -> str | None:
    """A first or last name.

    Raises:
        Refusal: 422 naming the field.
    """
    return None if name is None else check_text(name, field, MAX_NAME)


def address_of(email: str, key: str) -> str:
    """Where mail goes: the local part in its letter case (RFC 5321 §2.4), the domain in A-labels."""
    return f"{email.rpartition('@')[0]}@{key.rpartition('@')[2]}"


def parse_contact(text: str) -> UUID | str:
    """A contact in a path: its id, or the key of its address.

    Raises:
        Refusal: 422, neither.
    """
    if "@" in text:
        try:
            return email_key(text)
        except InvalidAddress as error:
            raise invalid_parameter(f"The address in the path cannot be one of a contact: {error}") from error
    try:
        return UUID(text)
    except ValueError as error:
        raise invalid_parameter(
            f"A contact is named by its id or its email address; `{text[:80]}` is neither."
        ) from error


def check_same(ident: UUID, key: str, *, given_id: UUID | None, given_email: str | None, field: str = "id") -> None:
    """Raise 422 when a body names another contact than the path; SDKs repeat it there."""
    if given_id is not None and given_id != ident:
        raise invalid(f"Invalid `{field}` field: the path names the contact {ident}.")
    if given_email is not None and _key(given_email) != key:
        raise invalid("Invalid `email` field: the path names another contact. The address of one cannot be changed.")


def _key(email: str) -> str:
    try:
        return email_key(email)
    except InvalidAddress as error:
        raise invalid(f"Invalid `email` field: {error}") from error
