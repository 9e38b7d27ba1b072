"""Records of a CSV text, each with where it ends: a reader begins anywhere between two of them, and finds the same.

The text is UTF-8 with line feeds (:mod:`.encoding`). Quotes are read strictly: what a lenient reader would make of a
quote in the wrong place is not what anybody wrote. After a record that cannot be read, reading goes on with the next
line.
"""

import csv
from collections.abc import Iterator
from typing import NamedTuple

from mailwarren.ingest.domain.imports.encoding import MAX_LINE

MAX_RECORD = 1024 * 1024
"""Octets of a record. A cell has 131,072 characters at most (the csv module's own limit)."""
AHEAD = MAX_RECORD + MAX_LINE
"""Octets that have to follow the beginning of a record, so that it certainly ends within the window."""
_CAUSES = {
    "field larger": "a cell is longer than 131,072 characters. Is a quote at its beginning never closed?",
    "expected after": 'a quote ends before its cell does: a quote inside of a quoted cell is written twice ("").',
    "unexpected end": "the file ends inside of a quoted cell: its quote is never closed.",
}


class Record(NamedTuple):
    """A line of the table, or several when cells have line breaks in them."""

    line: int
    """Where it begins, from 1."""
    cells: list[str]
    """Empty when it cannot be read."""
    problem: str | None = None


class Part(NamedTuple):
    """What was read at once."""

    records: list[Record]
    position: int
    """Octets, from the beginning of the text, to behind the last record."""
    line: int
    """The line that begins there."""
    ended: bool
    """Nothing follows."""


class _TooLong(Exception):
    """A record beyond :data:`MAX_RECORD`."""


class _Lines:
    """The lines of a window, one at a time, as the csv module asks for them."""

    def __init__(self, window: bytes, at: int, line: int) -> None:
        self._window = window
        self.at = at
        self.line = line
        self.record = at

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self.at >= len(self._window):
            raise StopIteration
        if self.at - self.record > MAX_RECORD:
            raise _TooLong
        end = self._window.find(b"\n", self.at) + 1 or len(self._window)
        text = self._window[self.at : end].decode()
        self.at = end
        self.line += 1
        return text


def read_records(window: bytes, starts: int, place: tuple[int, int], delimiter: str, most: int, *, whole: bool) -> Part:
    """The next records.

    Args:
        window: a part of the text.
        starts: where it begins in the text.
        place: where to begin, and the number of the line there.
        delimiter: between cells.
        most: records. Empty lines are none.
        whole: the window reaches to the end of the text. If not, no record is begun with less than :data:`AHEAD`
            octets left.

    Returns:
        The records, fewer than ``most`` at the end of the window.
    """
    position, line = place
    lines = _Lines(window, position - starts, line)
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    last = len(window) if whole else len(window) - AHEAD
    found: list[Record] = []
    while len(found) < most and lines.at < last:
        lines.record = lines.at
        first = lines.line
        try:
            cells = next(reader)
        except _TooLong:
            found.append(Record(first, [], _said("it is longer than 1 MB.", first, lines.line)))
        except csv.Error as error:
            found.append(Record(first, [], _said(_cause(error), first, lines.line)))
        except StopIteration:
            break
        else:
            if any(cells):
                found.append(Record(first, cells))
    return Part(found, starts + lines.at, lines.line, ended=whole and lines.at >= len(window))


def _cause(error: csv.Error) -> str:
    return next((text for words, text in _CAUSES.items() if words in str(error)), f"{error}.")


def _said(cause: str, first: int, after: int) -> str:
    where = f"Lines {first} to {after - 1} were" if after - first > 1 else "The row was"
    return f"{where} not read: {cause}"
