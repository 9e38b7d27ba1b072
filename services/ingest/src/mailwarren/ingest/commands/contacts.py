"""``mailwarren contacts import``: a CSV file of contacts, through the API."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mailwarren.ingest.commands import Failed
from mailwarren.ingest.commands.api import Api

EVERY = 1.0
"""Seconds between two looks at how far it is."""
BEGINNING = 1024 * 1024
"""Octets of the file that are enough for a preview, in any encoding."""
_ENDS = {"completed", "failed"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """An import, as the command line says it.

    Args:
        file: the CSV file.
        columns: names of columns by what they are: ``email``, ``first_name``, or the key of a property.
        fields: of the call, as the API takes them: ``on_conflict``, ``encoding``, ``delimiter``, ``webhooks``.
        segments: ids.
        topics: opt_in or opt_out, by ids.
    """

    file: Path
    columns: Mapping[str, str]
    fields: Mapping[str, str | None]
    segments: Sequence[str] = ()
    topics: Mapping[str, str] | None = None

    @property
    def query(self) -> dict[str, str | None]:
        """The fields of the call."""
        topics = [{"id": ident, "subscription": choice} for ident, choice in (self.topics or {}).items()]
        return {
            **self.fields,
            "filename": self.file.name,
            "column_map": json.dumps(dict(self.columns)) if self.columns else None,
            "segments": json.dumps([{"id": ident} for ident in self.segments]) if self.segments else None,
            "topics": json.dumps(topics) if topics else None,
        }


def preview(api: Api, wanted: Wanted) -> Any:
    """What an import would make of the file.

    Raises:
        Failed: no such file, the API cannot be reached, or it said no.
    """
    with _opened(wanted.file) as file:
        beginning = file.read(BEGINNING)
    return api.upload("/contacts/imports/preview", beginning, **wanted.query)


def import_file(api: Api, wanted: Wanted, report: Path | None, *, wait: bool) -> Iterator[Any]:
    """Upload the file, and say how far it is until it has ended.

    Args:
        api: whose contacts.
        wanted: what.
        report: where to put the rows that failed, if any did.
        wait: for its end.

    Raises:
        Failed: as :func:`preview`, or the import failed as a whole.
    """
    with _opened(wanted.file) as file:
        made = api.upload("/contacts/imports", file, **wanted.query)
    yield made
    last = None
    while wait:
        shown = api.get(f"/contacts/imports/{made['id']}")
        if (line := _line(shown)) != last:
            yield line
            last = line
        if shown["status"] in _ENDS:
            break
        time.sleep(EVERY)
    if not wait:
        return
    if shown["counts"]["failed"] and report is not None:
        api.save(f"/contacts/imports/{made['id']}/errors", report)
        yield f"The rows that failed, and why: {report}"
    if shown["status"] == "failed":
        raise Failed(shown["error"] or "the import failed")


def _line(shown: Mapping[str, Any]) -> str:
    counts = shown["counts"]
    told = ", ".join(f"{counts[name]:,} {name}" for name in ("created", "updated", "skipped", "failed"))
    return f"{shown['status']} {shown['percent']:g} %: {counts['total']:,} rows, {told}"


def _opened(path: Path) -> Any:
    try:
        return path.open("rb")
    except OSError as error:
        raise Failed(f"{path}: {error.strerror or error}") from error
