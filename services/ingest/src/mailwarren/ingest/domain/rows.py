"""The rows of a request of which one cannot be read: the others are not to blame.

msgspec reads a request as a whole and stops at an unpaired surrogate (what is left of an emoji that JavaScript cut in
half) or at too deep a nesting, wherever it is. So only then the rows are told apart by their brackets.
"""

import json
import re
from collections.abc import Sequence
from itertools import pairwise

import msgspec

_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},]', re.DOTALL)
MOST = 10_000
"""Rows; no request may have more of them, and telling a million apart would take seconds."""


def split_rows(body: bytes, field: str | None) -> tuple[bytes, Sequence[msgspec.Raw]] | None:
    """The request without its rows, and the rows.

    Args:
        body: JSON that msgspec cannot read.
        field: the array of rows in the object at the top; None: the body is the array.

    Returns:
        None when there is no such array, or it is too long, or when something is wrong with a row that splitting does
        not help: then the request is no JSON.
    """
    found = _boundaries(body, field)
    if found is None:
        return None
    start, marks = found
    edges = [start, *marks]
    rows = [body[left + 1 : right].strip() for left, right in pairwise(edges)]
    if rows == [b""]:
        return None
    if not all(map(_is_readable_or_excused, rows)):
        return None
    return body[: start + 1] + body[marks[-1] :], [msgspec.Raw(row) for row in rows]


def _boundaries(body: bytes, field: str | None) -> tuple[int, list[int]] | None:
    """Where the array begins, and where each of its elements ends: at a comma, the last at the closing bracket."""
    depth, inside = 0, 0 if field is None else 1
    name, begin = b"", None
    marks: list[int] = []
    for match in _TOKEN.finditer(body):
        token, at = match[0], match.start()
        if token[0] == 0x22:  # noqa: PLR2004 - a string
            name = token + body[match.end() : match.end() + 8].strip()[:1] if depth == inside else name
        elif token in b"[{":
            wanted = field is None or name == b'"%s":' % field.encode()
            if token == b"[" and depth == inside and begin is None and wanted:
                begin = at
            depth += 1
        elif token == b",":
            if begin is not None and depth == inside + 1:
                marks.append(at)
                if len(marks) >= MOST:
                    return None
        else:
            depth -= 1
            if begin is not None and depth == inside:
                return begin, [*marks, at]
    return None


def _is_readable_or_excused(row: bytes) -> bool:
    try:
        msgspec.json.decode(row)
    except RecursionError:
        return True
    except (msgspec.DecodeError, UnicodeDecodeError):
        try:
            json.loads(row)  # takes unpaired surrogates
        except (ValueError, RecursionError):
            return False
    return True
