"""Which column of a file is what of a contact: by the columns' names, or as the caller maps them."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from mailwarren.ingest.domain.properties import MAX_KEY, Property, check_key
from mailwarren.ingest.domain.refusal import Refusal, invalid, missing
from mailwarren.store.states import PropertyType

Field = Literal["email", "first_name", "last_name", "unsubscribed"]
FIELDS: tuple[Field, ...] = ("email", "first_name", "last_name", "unsubscribed")
SHOWN = 20
"""Columns named in a message."""

_NAMES: Mapping[str, Field] = {
    **dict.fromkeys(
        (
            "email", "emailaddress", "mail", "mailaddress", "emailadresse", "mailadresse", "adressemail",
            "adresseemail", "courriel", "correo", "correoelectronico", "email1", "email1value", "primaryemail",
            "contactemail",
        ),
        "email",
    ),
    **dict.fromkeys(("firstname", "givenname", "forename", "vorname", "prenom", "nombre", "voornaam"), "first_name"),
    **dict.fromkeys(
        ("lastname", "surname", "familyname", "nachname", "familienname", "nomdefamille", "apellido", "apellidos",
         "achternaam"),
        "last_name",
    ),
    **dict.fromkeys(("unsubscribed", "optedout", "optout"), "unsubscribed"),
}  # fmt: skip
"""Names of columns as other programs write them, without letter case, accents, spaces and signs."""


class PropertyColumn(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The column of a property. With a ``type`` the property is declared when it is not there yet."""

    column: str
    type: PropertyType | None = None
    fallback_value: Any = None


class ColumnMap(msgspec.Struct, frozen=True, kw_only=True):
    """``column_map``: the columns' names, by what they are. Properties may also stand beside the fields."""

    email: Annotated[str | None, Meta(description="The column of the addresses.")] = None
    first_name: str | None = None
    last_name: str | None = None
    unsubscribed: str | None = None
    properties: dict[str, str | PropertyColumn] = {}


class Columns(msgspec.Struct, frozen=True, kw_only=True):
    """What is where, as places of cells in a row. ``properties`` by their keys."""

    email: int
    first_name: int | None = None
    last_name: int | None = None
    unsubscribed: int | None = None
    properties: dict[str, int] = {}

    def meaning(self, place: int) -> str | None:
        """What a column is, in the words of a preview; None when it is not imported."""
        for field in FIELDS:
            if getattr(self, field) == place:
                return field
        return next((f"properties.{key}" for key, at in self.properties.items() if at == place), None)


class Wish(msgspec.Struct, frozen=True):
    """A property that is to be declared."""

    key: str
    type: PropertyType
    fallback: Any


def parse_column_map(text: str) -> ColumnMap:
    """The field ``column_map`` of a form: JSON.

    Raises:
        Refusal: 422.
    """
    try:
        given = msgspec.json.decode(text, type=dict[str, Any])
        fields = {name: given.pop(name) for name in (*FIELDS, "properties") if name in given}
        fields["properties"] = {**(fields.get("properties") or {}), **given}
        return msgspec.convert(fields, ColumnMap)
    except (msgspec.MsgspecError, TypeError, RecursionError, UnicodeEncodeError) as error:
        raise invalid(
            f"Invalid `column_map` field: {error}. It is JSON with the names of columns: "
            '{"email": "E-Mail", "first_name": "First name", "properties": {"plan": {"column": "Plan"}}}.'
        ) from error


def map_columns(columns: Sequence[str], declared: Sequence[Property], asked: ColumnMap | None) -> Columns:
    """What each column is.

    Args:
        columns: their names.
        declared: the tenant's properties, with those that :func:`wishes` gave.
        asked: the caller's mapping: what it does not name is not imported. None to go by the names.

    Raises:
        Refusal: 422: a column that is not there, or none for the addresses.
    """
    if asked is None:
        return _by_name(columns, declared)
    keys = {item.key: item for item in declared}
    found: dict[str, int] = {}
    for field in FIELDS:
        if (name := getattr(asked, field)) is not None:
            found[field] = _place(columns, name, f"column_map.{field}")
    properties: dict[str, int] = {}
    for key, column in asked.properties.items():
        said = f"column_map.properties.{key[:MAX_KEY]}"
        name, kind = (column, None) if isinstance(column, str) else (column.column, column.type)
        if (item := keys.get(key)) is None:
            raise invalid(
                f"Unknown `{said}` field: declare the property first (POST /v1/contact-properties), or give its `type`."
            )
        if kind not in {None, item.type}:
            raise invalid(f"Invalid `{said}.type` field: the property is declared as {item.type}.")
        properties[key] = _place(columns, name, said)
    if "email" not in found:
        raise missing(f"Missing `column_map.email` field: it names the column of the addresses; {_there(columns)}.")
    return Columns(**found, properties=properties)


def wishes(asked: ColumnMap | None, declared: Sequence[Property]) -> list[Wish]:
    """Properties that the caller maps with their type and that are not declared yet.

    Raises:
        Refusal: 422: a key that cannot be one.
    """
    keys = {item.key for item in declared}
    return [
        Wish(_checked(key), column.type, column.fallback_value)
        for key, column in (asked.properties if asked else {}).items()
        if key not in keys and isinstance(column, PropertyColumn) and column.type is not None
    ]


def plain(name: str) -> str:
    """A name without letter case, accents, spaces and signs."""
    letters = unicodedata.normalize("NFKD", name).casefold()
    return re.sub(r"[^a-z0-9]", "", letters)


def _checked(key: str) -> str:
    try:
        return check_key(key)
    except Refusal as refusal:
        raise refusal.about("`column_map.properties`") from refusal


def _by_name(columns: Sequence[str], declared: Sequence[Property]) -> Columns:
    found: dict[str, int] = {}
    properties: dict[str, int] = {}
    exact = {item.key for item in declared}
    close = {plain(item.key): item.key for item in declared}
    for place, name in enumerate(columns):
        field = _NAMES.get(plain(name))
        key = name if name in exact else None if field else close.get(plain(name))
        if key is not None:
            properties.setdefault(key, place)
        elif field is not None and (field not in found or name.lower() == field):
            found[field] = place
    if "email" not in found:
        looks = " The first line looks like a contact: it has to name the columns." if _an_address(columns) else ""
        raise missing(
            f"Missing `column_map` field: no column is named like an email address; {_there(columns)}.{looks} Say which"
            ' it is: column_map={"email": "…"}.'
        )
    return Columns(**found, properties=properties)


def _an_address(columns: Sequence[str]) -> bool:
    return any("@" in name for name in columns)


def _place(columns: Sequence[str], name: str, field: str) -> int:
    name = name.strip()
    for candidates in (
        [place for place, column in enumerate(columns) if column == name],
        [place for place, column in enumerate(columns) if column.casefold() == name.casefold()],
    ):
        if len(candidates) > 1:
            raise invalid(f"Invalid `{field}` field: several columns are named `{name[:80]}`; rename all but one.")
        if candidates and name:
            return candidates[0]
    raise invalid(f"Invalid `{field}` field: there is no column `{name[:80]}`; {_there(columns)}.")


def _there(columns: Sequence[str]) -> str:
    shown = ", ".join(f"`{name[:80]}`" for name in columns[:SHOWN])
    return f"the columns are {shown}{', …' if len(columns) > SHOWN else ''}"
