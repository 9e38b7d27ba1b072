"""The beginning of a file: the delimiter, the columns' names, and the first rows."""

import re
from collections.abc import Sequence

import msgspec

from mailwarren.ingest.domain.imports.formulas import as_written, is_report
from mailwarren.ingest.domain.imports.records import Record, read_records
from mailwarren.ingest.domain.refusal import Refusal, invalid

DELIMITERS = (",", ";", "\t", "|")
MAX_COLUMNS = 500
MAX_COLUMN = 200
"""Characters of a column's name that are kept."""
SAMPLE = 20
"""Rows that are looked at."""
_SEP = re.compile(r"sep=(.)\n", re.IGNORECASE)
"""Excel's own first line, before the columns."""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What a file begins with."""

    delimiter: str
    columns: list[str]
    rows: list[Record]
    """The first of those below the columns' names."""
    place: tuple[int, int]
    """Octets before the first row, and its line."""


def check_delimiter(text: str) -> str:
    """A delimiter that a caller names.

    Raises:
        Refusal: 422, with those that can be named.
    """
    found = {"tab": "\t", "\\t": "\t"}.get(text, text)
    if found not in DELIMITERS:
        raise invalid("Invalid `delimiter` field: it is one of `,` `;` `|` and `tab`.")
    return found


def read_head(text: bytes, delimiter: str | None, *, whole: bool) -> Head:
    """The beginning of a file.

    Args:
        text: as it is stored, at least the first 256 kB of it.
        delimiter: as the caller says it; None to find it out.
        whole: it is all of the file.

    Raises:
        Refusal: 422: no rows, or no names of columns.
    """
    if not whole:
        # It may be cut inside of a character, or a record: what begins before its last line is certainly there.
        text = text[: text.rfind(b"\n") + 1]
    start = (0, 1)
    if sep := _SEP.match(text[:16].decode(errors="replace")):
        start = (len(sep[0]), 2)
        delimiter = delimiter or (sep[1] if sep[1] in DELIMITERS else None)
    if delimiter is None:
        delimiter = _likely(text, start)
    head = read_records(text, 0, start, delimiter, 1, whole=True)
    if not head.records:
        if not whole:
            raise invalid("The line of the columns' names is longer than 256 kB, or there is none.")
        raise empty() if not text.strip() else invalid("The file has no text in it.")
    columns = _columns(head.records[0])
    rows = read_records(text, 0, (head.position, head.line), delimiter, SAMPLE, whole=True).records
    if whole and not rows:
        raise empty()
    return Head(delimiter=delimiter, columns=columns, rows=rows, place=(head.position, head.line))


def empty() -> Refusal:
    """422: there is nothing to import."""
    return invalid("The file has no rows: the first line names the columns, and below it is a line for each contact.")


def _columns(first: Record) -> list[str]:
    if first.problem:
        raise invalid(f"The columns' names cannot be read. {first.problem}")
    if len(first.cells) > MAX_COLUMNS:
        raise invalid(f"The file has {len(first.cells)} columns; at most {MAX_COLUMNS} are taken.")
    names = [cell.strip()[:MAX_COLUMN] for cell in first.cells]
    return [as_written(name) for name in names] if is_report(names) else names


def _likely(text: bytes, start: tuple[int, int]) -> str:
    """The delimiter that makes a table of the first rows: as many rows as wide as the first, then the most columns."""
    best, most = ",", (0.0, 0)
    for candidate in DELIMITERS:
        widths = _widths(read_records(text, 0, start, candidate, SAMPLE, whole=True).records)
        if not widths or widths[0] < 2:  # noqa: PLR2004 - one column says nothing
            continue
        score = (sum(width == widths[0] for width in widths) / len(widths), widths[0])
        if score > most:
            best, most = candidate, score
    return best


def _widths(records: Sequence[Record]) -> list[int]:
    return [len(record.cells) for record in records]
