"""Suppressions as CSV (RFC 4180, UTF-8): read from octets as they come in, and written as they are read."""

import codecs
import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

import msgspec

from mailwarren.ingest.domain.addresses import InvalidAddress
from mailwarren.ingest.domain.contacts import email_key
from mailwarren.ingest.domain.imports.formulas import as_written, harmless
from mailwarren.ingest.domain.refusal import invalid
from mailwarren.ingest.domain.suppressions import Entry, NewEntry

COLUMNS = ("email", "scope", "topic_id", "origin", "reason", "source_id", "created_at", "expires_at")
"""Of what is written. Of what is read, ``email`` and ``expires_at`` count."""
MAX_RECORD = 64 * 1024
"""Characters of a record."""
SHOWN_ERRORS = 100
_HEADS = frozenset({"email", "e-mail", "email address", "email_address", "address", "recipient"})
_END = "expires_at"


class BadRow(msgspec.Struct, frozen=True):
    """A record that was left out, by the line that it begins on."""

    line: int
    message: str


class Reader:
    """Records out of pieces of a file.

    The first is the head, which names a column ``email``. A file of addresses alone, without a head, is read too.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._text = ""
        self._line = 1
        self._columns: list[str] | None = None

    def feed(self, octets: bytes, *, last: bool = False) -> tuple[list[NewEntry], list[BadRow]]:
        """What is complete now.

        Raises:
            Refusal: 422, this is no such file; nothing of this piece is taken.
        """
        try:
            self._text += self._decoder.decode(octets, last)
        except UnicodeDecodeError as error:
            raise invalid(f"The file is not UTF-8: line {self._line} or after it.") from error
        end = len(self._text) if last else _complete(self._text)
        whole, self._text = self._text[:end], self._text[end:]
        if len(self._text) > MAX_RECORD:
            raise invalid(f"Line {self._line}: a record is longer than {MAX_RECORD} characters. Is a quote missing?")
        entries: list[NewEntry] = []
        bad: list[BadRow] = []
        try:
            for line, record in self._records(whole):
                read = self._read(line, record)
                if isinstance(read, BadRow):
                    bad.append(read)
                elif read is not None:
                    entries.append(read)
        except csv.Error as error:
            raise invalid(f"The file is not CSV: {error} (line {self._line} or after it).") from error
        return entries, bad

    @property
    def ignored(self) -> list[str]:
        """Columns that have no meaning here."""
        return [name for name in self._columns or () if name not in _HEADS and name not in COLUMNS]

    def _records(self, text: str) -> Iterator[tuple[int, list[str]]]:
        first = self._line
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        line = first
        for record in reader:
            yield line, record
            line = self._line = first + reader.line_num

    def _read(self, line: int, record: Sequence[str]) -> NewEntry | BadRow | None:
        fields = [field.strip() for field in record]
        if not any(fields):
            return None
        if self._columns is None:
            self._columns = _head(fields)
            if self._columns == [field.lower() for field in fields]:
                return None
        known = dict(zip(self._columns, fields, strict=False))
        text = next((value for name, value in known.items() if name in _HEADS), "")
        if tuple(self._columns) == COLUMNS:
            text = as_written(text)
        try:
            address = email_key(text)
        except InvalidAddress as error:
            return BadRow(line, f"Invalid `email`: {error}")
        try:
            return NewEntry(address, _moment(known.get(_END, "")))
        except ValueError:
            return BadRow(line, f"Invalid `{_END}`: ISO 8601 with a time zone, such as 2027-01-31T00:00:00Z.")


def write_head() -> bytes:
    """The head of what is written."""
    return _written([COLUMNS])


def write(entries: Iterable[Entry]) -> bytes:
    """Records."""
    return _written(
        (
            harmless(entry.address),  # `=` and `+` may begin an address
            entry.scope,
            entry.topic if entry.scope == "topic" else "",
            entry.origin,
            entry.reason,
            entry.source or "",
            entry.created_at.isoformat(),
            entry.expires_at.isoformat() if entry.expires_at else "",
        )
        for entry in entries
    )


def _written(records: Iterable[Sequence[object]]) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out).writerows(records)
    return out.getvalue().encode()


def _complete(text: str) -> int:
    """How much of a text is whole records: up to a line end with an even number of quotes before it."""
    before, after = text.count('"'), len(text)
    while (end := text.rfind("\n", 0, after)) >= 0:
        before -= text.count('"', end, after)
        if before % 2 == 0:
            return end + 1
        after = end
    return 0


def _head(fields: Sequence[str]) -> list[str]:
    names = [field.lower() for field in fields]
    if any(name in _HEADS for name in names):
        return names
    if len(fields) == 1 and "@" in fields[0]:
        return ["email"]
    raise invalid("The first line of the file names its columns; one of them is `email`.")


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("no time zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("too far away") from error
