"""Rows on their way into Postgres.

By ``COPY`` where a row is surely new: that costs both ends least. As the parameters of ``unnest``, one array for each
column, for everything else.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from mailwarren.contracts.parcel import Attempt

if TYPE_CHECKING:
    from asyncpg import Connection, Record

Row = tuple[Any, ...]

_NOT_TRIED: Row = (None,) * 11


class Unstorable(ValueError):
    """A value that does not fit its column."""


async def copy(connection: "Connection[Record]", table: str, names: Sequence[str], rows: Sequence[Row]) -> None:
    """Insert rows, given as the columns ``names``.

    Raises:
        Unstorable: a value does not fit its column's type; nothing is inserted.
        asyncpg.PostgresError: the server refuses, for instance a row that is there.
    """
    if not rows:
        return
    try:
        await connection.copy_records_to_table(table, records=rows, columns=names)
    except (OverflowError, TypeError, ValueError) as error:
        raise Unstorable(f"{type(error).__name__}: {error}") from error


def moment(at: float) -> datetime:
    """Unix seconds as a time.

    Raises:
        Unstorable: no year between 1 and 9999.
    """
    try:
        return datetime.fromtimestamp(at, UTC)
    except (OSError, OverflowError, ValueError) as error:
        raise Unstorable(str(error)) from error


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
    """The eleven columns that deliveries and events share: the reply (code, enhanced, text, command) and around it."""
    if tried is None:
        return _NOT_TRIED
    reply = tried.reply
    answered = (None, None, None, None) if reply is None else (reply.code, reply.enhanced, reply.text, reply.command)
    around = tried.trouble, tried.bounce_class, tried.site or None, tried.host or None, tried.tls, tried.tls_policy
    return *answered, *around, tried.egress or None
