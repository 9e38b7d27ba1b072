"""Rows as the parameters of ``unnest``: one array for each column."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from mailwarren.contracts.parcel import Attempt

Row = tuple[Any, ...]

_NOT_TRIED: Row = (None,) * 8


def columns(rows: Iterable[Row], width: int) -> list[list[Any]]:
    """The columns of rows that have ``width`` of them; empty ones for no rows."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]


def json_text(value: Any) -> str:
    """A value as JSON, for a ``jsonb`` column."""
    return msgspec.json.encode(value).decode()


def array_text(texts: Sequence[str]) -> str:
    """A text array as Postgres writes it: an array of arrays must be a rectangle, so each row's travels as text."""
    quoted = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return "{" + ",".join(f'"{text}"' for text in quoted) + "}"


def tried_columns(tried: Attempt | None) -> Row:
    """The eight columns that deliveries and events share: the reply (code, enhanced, text, command) and around it."""
    if tried is None:
        return _NOT_TRIED
    reply = tried.reply
    answered = (None, None, None, None) if reply is None else (reply.code, reply.enhanced, reply.text, reply.command)
    return (*answered, tried.trouble, tried.bounce_class, tried.site or None, tried.host or None)
