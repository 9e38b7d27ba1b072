"""Rows that failed, as CSV that can be opened anywhere, mended and uploaded again."""

import csv
import io
from collections.abc import Sequence

from mailwarren.ingest.domain.imports.formulas import OURS, harmless
from mailwarren.ingest.domain.imports.rows import Failure

MARK = b"\xef\xbb\xbf"
"""Without it Excel takes UTF-8 for an older encoding."""


def first_line(columns: Sequence[str]) -> bytes:
    """The beginning of the report."""
    return MARK + _lines([[*OURS, *(harmless(name) for name in columns)]])


def lines(failures: Sequence[Failure]) -> bytes:
    """Its next lines."""
    return _lines(
        [
            [str(one.number), str(one.line), harmless(one.error), *(harmless(cell) for cell in one.cells)]
            for one in failures
        ]
    )


def _lines(rows: Sequence[Sequence[str]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerows(rows)
    return out.getvalue().encode("utf-8", "replace")
