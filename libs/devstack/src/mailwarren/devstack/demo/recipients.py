"""Reading the CSV of recipients. What the columns hold is for the API to judge; only the form is checked here."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from io import TextIOWrapper
from pathlib import Path
from typing import IO

from mailwarren.contracts.lanes import Lane
from mailwarren.devstack.errors import DevstackError

FILE: Traversable = files("mailwarren.devstack.demo") / "recipients.csv"
COLUMNS = (
    "email", "first_name", "last_name", "language", "city", "lane", "plan", "renewal_date", "amount", "currency",
    "expires_in",
)  # fmt: skip

_FAMILY_NAME_FIRST = {"zh", "ja", "ko", "hu"}
_UNSPACED = {"zh", "ja", "ko"}


@dataclass(frozen=True, slots=True)
class Recipient:
    """One row. ``row`` is its number as a spreadsheet shows it: the header is row 1.

    ``expires_in`` is seconds from posting, None without a limit. ``fields`` are the cells that are not empty.
    """

    row: int
    email: str
    lane: Lane
    fields: dict[str, str]
    expires_in: int | None = None

    @property
    def name(self) -> str:
        """First and last name in the order of the recipient's language; empty when neither is known."""
        language = self.fields.get("language", "")
        names = [self.fields.get("first_name", ""), self.fields.get("last_name", "")]
        if language in _FAMILY_NAME_FIRST:
            names.reverse()
        return ("" if language in _UNSPACED else " ").join(name for name in names if name)

    @property
    def mailbox(self) -> str:
        """The To field's mailbox (RFC 5322 §3.4), the name quoted."""
        if not self.name:
            return self.email
        escaped = self.name.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}" <{self.email}>'

    @property
    def envelope(self) -> str:
        """The address as a mail server sees it: the domain in lower case, in A-labels (RFC 5890)."""
        local, at, domain = self.email.rpartition("@")
        try:
            return f"{local}{at}{domain.lower().encode('idna').decode()}"
        except UnicodeError:
            return self.email


def read_recipients(path: Path | None = None) -> list[Recipient]:
    """The rows of ``path``, or of the CSV that comes with the demo.

    Raises:
        DevstackError: not there, not UTF-8, a column is missing, or a lane or a time is not one.
    """
    name = str(path or FILE)
    try:
        with (path or FILE).open("rb") as raw:
            return list(_read(raw, name))
    except OSError as error:
        raise DevstackError(f"The recipients cannot be read: {name}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise DevstackError(f"{name} is not UTF-8 (byte {error.start}).") from error
    except csv.Error as error:
        raise DevstackError(f"{name} is not a CSV file: {error}.") from error


def _read(raw: IO[bytes], name: str) -> Iterator[Recipient]:
    # newline="": line breaks inside quotes are the row's own.
    reader = csv.reader(TextIOWrapper(raw, encoding="utf-8-sig", newline=""), strict=True)
    header = next(reader, [])
    if missing := [column for column in COLUMNS if column not in header]:
        raise DevstackError(f"{name} lacks the columns {', '.join(missing)}.")
    for number, cells in enumerate(reader, start=2):
        if not cells:
            continue
        if len(cells) != len(header):
            raise DevstackError(f"{name}, row {number}: it has {len(cells)} cells, the header has {len(header)}.")
        yield _recipient(number, dict(zip(header, cells, strict=True)), name)


def _recipient(number: int, cells: dict[str, str], name: str) -> Recipient:
    lane, seconds = cells["lane"], cells["expires_in"]
    if lane not in {known.value for known in Lane}:
        raise DevstackError(f"{name}, row {number}: the lane is {lane!r}, expected high, normal or bulk.")
    if seconds and not (seconds.isascii() and seconds.isdecimal()):
        raise DevstackError(f"{name}, row {number}: expires_in is {seconds!r}, expected seconds or nothing.")
    fields = {column: value for column, value in cells.items() if value and column not in {"lane", "expires_in"}}
    return Recipient(number, cells["email"], Lane(lane), fields, int(seconds) if seconds else None)
