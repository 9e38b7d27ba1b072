"""A record into a contact, or why it makes none; and the contacts of a batch, each address once."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from mailwarren.ingest.domain.addresses import InvalidAddress, composed
from mailwarren.ingest.domain.contacts import ContactRow, check_person, email_key
from mailwarren.ingest.domain.imports.columns import Columns
from mailwarren.ingest.domain.imports.formulas import as_written, is_report
from mailwarren.ingest.domain.imports.head import MAX_COLUMNS
from mailwarren.ingest.domain.imports.records import Record
from mailwarren.ingest.domain.properties import Property, Value, check_value
from mailwarren.ingest.domain.refusal import Refusal, invalid
from mailwarren.store.states import PropertyType

MAX_CELL = 1000
"""Characters of a cell that are kept of a row that failed."""
MAX_KEPT = 64 * 1024
"""The same of all its cells together: a hundred properties as long as they may be. A report is read by many at once."""
_YES = frozenset({"true", "yes", "y", "1", "t", "x"})
_NO = frozenset({"false", "no", "n", "0", "f"})


class Failure(NamedTuple):
    """A row that made no contact."""

    number: int
    """Of the rows, from 1."""
    line: int
    cells: list[str]
    error: str


class Batch(NamedTuple):
    """What became of records."""

    rows: list[ContactRow]
    failures: list[Failure]


class Reading:
    """Turns records into contacts.

    Args:
        names: of the file's columns.
        columns: what they are.
        declared: the tenant's properties; those that ``columns`` names have to be among them.
    """

    def __init__(self, names: Sequence[str], columns: Columns, declared: Sequence[Property]) -> None:
        self._names = names
        self._report = is_report(names)
        self._columns = columns
        known = {item.key: item for item in declared}
        self._properties = [(known[key], place) for key, place in columns.properties.items()]

    def read(self, records: Sequence[Record], before: int) -> Batch:
        """The contacts of these records, of which ``before`` came before."""
        rows: list[ContactRow] = []
        failures: list[Failure] = []
        for number, record in enumerate(records, before + 1):
            cells = [as_written(cell) for cell in record.cells] if self._report else record.cells
            found = record.problem or self._row(cells)
            if isinstance(found, str):
                failures.append(Failure(number, record.line, _kept(cells), found))
            else:
                rows.append(found)
        return Batch(rows, failures)

    def _row(self, cells: list[str]) -> ContactRow | str:
        wanted = len(self._names)
        if len(cells) != wanted and (len(cells) < wanted or any(cells[wanted:])):
            return f"The row has {len(cells)} cells, the first line names {wanted} columns."
        columns = self._columns
        email = cells[columns.email].strip()
        if not email:
            return f"`{self._names[columns.email]}` is empty: every contact has an address."
        try:
            return ContactRow(
                email=composed(email),
                email_key=email_key(email),
                first_name=self._name(cells, columns.first_name, "first_name"),
                last_name=self._name(cells, columns.last_name, "last_name"),
                unsubscribed=self._flag(cells, columns.unsubscribed),
                properties=self._values(cells) if self._properties else {},
            )
        except InvalidAddress as error:
            return f"`{self._names[columns.email]}` is no address: {error}"
        except Refusal as refusal:
            return refusal.message

    def _name(self, cells: list[str], place: int | None, field: str) -> str | None:
        if place is None or not (text := cells[place].strip()):
            return None
        return check_person(text, field)

    def _flag(self, cells: list[str], place: int | None) -> bool | None:
        if place is None or not (text := cells[place].strip()):
            return None
        return _truth(text, "unsubscribed")

    def _values(self, cells: list[str]) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for item, place in self._properties:
            if text := cells[place].strip():
                field = f"properties.{item.key}"
                found[item.place] = check_value(_typed(text, item.type, field), item.type, field)
        return found


def fold(rows: Sequence[ContactRow], *, keep_first: bool) -> list[ContactRow]:
    """Each address once: the first row of several, or what all of them say together, the later over the earlier.

    The same comes out as when one row after the other is written: it does not matter where a batch ends.
    """
    found: dict[str, ContactRow] = {}
    for row in rows:
        if (seen := found.get(row.email_key)) is None:
            found[row.email_key] = row
        elif not keep_first:
            found[row.email_key] = replace(
                seen,
                first_name=seen.first_name if row.first_name is None else row.first_name,
                last_name=seen.last_name if row.last_name is None else row.last_name,
                unsubscribed=seen.unsubscribed if row.unsubscribed is None else row.unsubscribed,
                properties={**seen.properties, **row.properties},
            )
    return list(found.values())


def _kept(cells: Sequence[str]) -> list[str]:
    """The cells of a row that failed, each in its place, and cut where they are too long."""
    left, kept = MAX_KEPT, []
    for cell in cells[:MAX_COLUMNS]:
        kept.append(cell[: min(MAX_CELL, left)])
        left -= len(kept[-1])
    return kept


def _typed(text: str, kind: PropertyType, field: str) -> Value:
    if kind is PropertyType.NUMBER:
        return _number(text, field)
    return _truth(text, field) if kind is PropertyType.BOOLEAN else text


def _number(text: str, field: str) -> int | float:
    try:
        if len(text) <= 20 and text.lstrip("+-").isdecimal():  # noqa: PLR2004 - 2^53 has 16 digits
            return int(text)
        number = float(text)
    except ValueError as error:
        raise invalid(f"Invalid `{field}` field: `{text[:40]}` is no number; one looks like 1234.5 or -7.") from error
    if not math.isfinite(number) or "_" in text:
        raise invalid(f"Invalid `{field}` field: `{text[:40]}` is no number.")
    return number


def _truth(text: str, field: str) -> bool:
    word = text.lower()
    if word in _YES:
        return True
    if word in _NO:
        return False
    raise invalid(f"Invalid `{field}` field: `{text[:40]}` is neither true nor false (yes or no, 1 or 0).")
