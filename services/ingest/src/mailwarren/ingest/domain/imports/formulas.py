"""Cells that a spreadsheet would carry out, and how they are written instead.

A spreadsheet takes a cell for a formula by how it begins, whoever wrote it (OWASP: CSV injection). In what we write,
such a cell has an apostrophe before it; in a report that is mended and uploaded again, the apostrophe is taken away.
"""

from collections.abc import Sequence

OURS = ("import_row", "import_line", "import_error")
"""Columns of a report before those of the file."""
_BEGINS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a formula begins with, in full width too."""


def harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.lstrip(" ").startswith(_BEGINS) else cell


def as_written(cell: str) -> str:
    """A cell as it was before :func:`harmless`."""
    return cell[1:] if cell.startswith("'") and harmless(cell[1:]) != cell[1:] else cell


def is_report(names: Sequence[str]) -> bool:
    """Whether these are the columns of a report of ours."""
    return tuple(names[: len(OURS)]) == OURS
