"""The client's count: a file with a line for each recipient that was posted for.

``["accepted", id, address, lane]`` when the API said yes, ``["unanswered", address, lane, reason]`` when it said
nothing until the patience was over. Lines are written as answers come, so an interrupted run has them too.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TextIO
from uuid import UUID

import msgspec

FILE = "ledger.ndjson"
"""Its name in the folder of a run."""
ACCEPTED = "accepted"
UNANSWERED = "unanswered"


class Yes(NamedTuple):
    """A recipient that the API accepted."""

    id: UUID
    address: str
    lane: str


class Silence(NamedTuple):
    """A recipient whose call had no answer."""

    address: str
    lane: str
    reason: str


Row = list[str]
"""A line of the file, and what a worker sends its master."""


def accepted_row(ident: UUID, address: str, lane: str) -> Row:
    """The line of a yes."""
    return [ACCEPTED, str(ident), address, lane]


def unanswered_row(address: str, lane: str, reason: str) -> Row:
    """The line of a call without an answer."""
    return [UNANSWERED, address, lane, reason]


class Writer:
    """Appends lines, each batch at once.

    Args:
        folder: of the run; the file is made there.
    """

    def __init__(self, folder: Path) -> None:
        self._file: TextIO = (folder / FILE).open("a", encoding="utf-8")
        self.accepted = 0
        self.unanswered = 0

    def write(self, rows: Iterable[Row]) -> None:
        """Append some lines."""
        for row in rows:
            self._file.write(msgspec.json.encode(row).decode() + "\n")
            self.accepted += row[0] == ACCEPTED
            self.unanswered += row[0] == UNANSWERED
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read(folder: Path) -> tuple[list[Yes], list[Silence]]:
    """What a run's file says; nothing where there is none."""
    yes: list[Yes] = []
    silences: list[Silence] = []
    for row in _rows(folder / FILE):
        if row[0] == ACCEPTED:
            yes.append(Yes(UUID(row[1]), row[2], row[3]))
        else:
            silences.append(Silence(row[1], row[2], row[3]))
    return yes, silences


def _rows(path: Path) -> Iterator[Any]:
    if not path.exists():
        return
    decoder = msgspec.json.Decoder(list[str])
    with path.open("rb") as file:
        for line in file:
            yield decoder.decode(line)
