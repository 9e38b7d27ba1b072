"""Contact properties: what a tenant keeps about its contacts, declared with a type before it is used.

Values are stored under the id of their property, not under its key: a property that is deleted and declared anew,
perhaps with another type, does not inherit the old values.
"""

import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from mailwarren.ingest.domain.refusal import invalid
from mailwarren.store.states import PropertyType

MAX_PROPERTIES = 100
"""Of a tenant."""
MAX_KEY = 50
MAX_VALUE = 500
"""Characters of a text."""
MAX_NUMBER = 2**53
"""Beyond it, readers of JSON disagree about whole numbers (RFC 8259 §6)."""
RESERVED = frozenset(
    {
        "contact", "created_at", "email", "first_name", "id", "last_name", "properties", "segments", "topics",
        "unsubscribe_url", "unsubscribed", "updated_at",
    }
)  # fmt: skip
"""Names that templates and imports have for something else."""

_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_WORDS = {PropertyType.STRING: "a text", PropertyType.NUMBER: "a number", PropertyType.BOOLEAN: "true or false"}

Value = str | int | float | bool


class PropertyBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``POST /v1/contact-properties``."""

    key: Annotated[str, Meta(description=f"Letters, digits and `_`, a letter first, at most {MAX_KEY} characters.")]
    type: PropertyType
    fallback_value: Annotated[Any, Meta(description="For contacts without a value; of the property's type.")] = None


class PropertyChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``PATCH /v1/contact-properties/{id}``: key and type stay as they are."""

    fallback_value: Annotated[Any, Meta(description="Of the property's type, or null for none.")]


class Property(msgspec.Struct, frozen=True, kw_only=True):
    """A contact property as it was declared."""

    id: UUID
    key: str
    type: PropertyType
    fallback: Value | None
    created_at: datetime

    @property
    def place(self) -> str:
        """Under which a contact's value is stored."""
        return self.id.hex


def check_key(key: str) -> str:
    """A property's name.

    Raises:
        Refusal: 422.
    """
    if len(key) > MAX_KEY or not _KEY.fullmatch(key):
        raise invalid(f"Invalid `key` field: 1 to {MAX_KEY} ASCII letters, digits and underscores, a letter first.")
    if key.lower() in RESERVED:
        raise invalid(f"Invalid `key` field: `{key}` is the name of something that every contact has.")
    return key


def check_value(value: Any, kind: PropertyType, field: str) -> Value:
    """A value of a property of this type.

    Raises:
        Refusal: 422 naming the field.
    """
    if kind is PropertyType.STRING and isinstance(value, str):
        return _text(value, field)
    if kind is PropertyType.NUMBER and isinstance(value, int | float) and not isinstance(value, bool):
        return _number(value, field)
    if kind is PropertyType.BOOLEAN and isinstance(value, bool):
        return value
    raise invalid(f"Invalid `{field}` field: {_WORDS[kind]} is wanted, because that is the property's type.")


def check_values(
    values: Mapping[str, Any] | None, declared: Sequence[Property], field: str = "properties"
) -> dict[str, Value | None]:
    """A contact's values as they are stored: by the place of their property; None takes a value away.

    Raises:
        Refusal: 422 naming the property: not declared, or a value of another type.
    """
    if not values:
        return {}
    known = {item.key: item for item in declared}
    found: dict[str, Value | None] = {}
    for key, value in values.items():
        if (item := known.get(key)) is None:
            raise invalid(
                f"Unknown `{field}.{key[:MAX_KEY]}` field: declare the property first (POST /v1/contact-properties)."
            )
        found[item.place] = None if value is None else check_value(value, item.type, f"{field}.{key}")
    return found


def with_fallbacks(stored: Mapping[str, Value], declared: Sequence[Property]) -> dict[str, Value]:
    """Values by key, for a template: the contact's own, else the property's fallback, else none."""
    found = {item.key: stored.get(item.place, item.fallback) for item in declared}
    return {key: value for key, value in found.items() if value is not None}


def _text(value: str, field: str) -> str:
    if len(value) > MAX_VALUE:
        raise invalid(f"Invalid `{field}` field: it has {len(value)} characters; at most {MAX_VALUE} are taken.")
    if "\x00" in value:
        raise invalid(f"Invalid `{field}` field: it contains a NUL character.")
    return value


def _number(value: float, field: str) -> float:
    # In this order: a whole number of 400 digits fits no float.
    if abs(value) > MAX_NUMBER or not math.isfinite(value):
        raise invalid(f"Invalid `{field}` field: numbers go up to 2^53, above and below zero.")
    return value
