"""What the caller asks for beside the file: the fields of the form, or of the query."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from mailwarren.ingest.domain.decoding import decode
from mailwarren.ingest.domain.imports.columns import ColumnMap, Columns, parse_column_map
from mailwarren.ingest.domain.imports.encoding import check_encoding
from mailwarren.ingest.domain.imports.head import check_delimiter
from mailwarren.ingest.domain.refusal import invalid
from mailwarren.ingest.domain.segments import SegmentRef
from mailwarren.ingest.domain.topics import Choice

T = TypeVar("T")

MAX_FIELD = 64 * 1024
"""Octets of a field."""
MAX_FILENAME = 200
FILENAME = "import.csv"
MAX_REFS = 100
"""Segments, and topics."""

OnConflict = Literal["upsert", "skip"]


class ImportForm(msgspec.Struct, kw_only=True):
    """``POST /v1/contacts/imports``: the fields of a form, of which the file is one."""

    file: Annotated[str, Meta(description="The CSV file. Its first line names the columns.")]
    column_map: Annotated[
        str | None,
        Meta(
            description='JSON: names of columns by what they are, `{"email": "E-Mail", "properties": {"plan": '
            '{"column": "Plan", "type": "string"}}}`. A property with a type is declared if it is not yet. Without'
            " `column_map` columns are known by their names."
        ),
    ] = None
    on_conflict: Annotated[
        OnConflict,
        Meta(
            description="About addresses that are contacts already: `skip` leaves them as they are, `upsert` brings"
            " them up to date with the cells that are not empty, and into the segments and topics."
        ),
    ] = "skip"
    segments: Annotated[str | None, Meta(description='JSON: `[{"id": "…"}]`.')] = None
    topics: Annotated[str | None, Meta(description='JSON: `[{"id": "…", "subscription": "opt_in"}]`.')] = None
    encoding: Annotated[
        str | None,
        Meta(description="Ours. Of a file that is not UTF-8 or UTF-16; stands before the file, or in the query."),
    ] = None
    delimiter: Annotated[str | None, Meta(description="Ours. `,`, `;`, `|` or `tab`; found out without it.")] = None
    webhooks: Annotated[
        Literal["true", "false"],
        Meta(description="Ours. `true`: webhooks are told `contact.created` and `contact.updated` of every contact."),
    ] = "false"


FIELDS = tuple(field for field in ImportForm.__struct_fields__ if field != "file")


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The fields, read."""

    column_map: ColumnMap | None
    on_conflict: OnConflict
    segments: list[SegmentRef]
    topics: list[Choice]
    delimiter: str | None
    webhooks: bool


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How a file is read, as it is stored with the import."""

    encoding: str
    delimiter: str
    names: list[str]
    columns: Columns
    webhooks: bool = False
    """They are told of every contact."""


def read_encoding(fields: Mapping[str, str]) -> str | None:
    """The encoding that a caller names, which has to be known before the file.

    Raises:
        Refusal: 422.
    """
    return check_encoding(fields["encoding"]) if fields.get("encoding") else None


def read_fields(fields: Mapping[str, str]) -> Asked:
    """The other fields.

    Raises:
        Refusal: 422 naming the field.
    """
    check_names(fields)
    on_conflict = fields.get("on_conflict") or "skip"
    if on_conflict not in {"upsert", "skip"}:
        raise invalid("Invalid `on_conflict` field: it is `upsert` or `skip`.")
    webhooks = fields.get("webhooks") or "false"
    if webhooks not in {"true", "false"}:
        raise invalid("Invalid `webhooks` field: it is `true` or `false`.")
    segments = _list(fields, "segments", list[SegmentRef])
    topics = _list(fields, "topics", list[Choice])
    return Asked(
        column_map=parse_column_map(fields["column_map"]) if fields.get("column_map") else None,
        on_conflict="upsert" if on_conflict == "upsert" else "skip",
        segments=segments,
        topics=topics,
        delimiter=check_delimiter(fields["delimiter"]) if fields.get("delimiter") else None,
        webhooks=webhooks == "true",
    )


def check_names(fields: Mapping[str, str]) -> None:
    """Raise 422 for a field that has no meaning here."""
    for name in fields:
        if name not in FIELDS:
            raise invalid(f"Unknown `{name[:80]}` field: there are file, {', '.join(FIELDS)}.")


def check_filename(name: str) -> str:
    """The name of a file as it is shown: without folders and control characters."""
    plain = "".join(letter for letter in name.replace("\\", "/").rpartition("/")[2] if letter.isprintable())
    return plain.strip()[:MAX_FILENAME] or FILENAME


def _list(fields: Mapping[str, str], name: str, kind: type[list[T]]) -> list[T]:
    if not fields.get(name):
        return []
    found: Any = decode(fields[name].encode("utf-8", "replace"), kind, where=name, what=f"The `{name}` field")
    if len(found) > MAX_REFS:
        raise invalid(f"Invalid `{name}` field: at most {MAX_REFS} can be given.")
    return list(found)
