"""Pages of rows whose ids sort by their making (UUIDv7): newest first, by the id alone.

The row that a cursor names may be gone by then: the page is where it would have been.
"""

from typing import Any, Protocol
from uuid import UUID

from mailwarren.ingest.domain.cursor import Page

SLICE = 1000
"""Rows read at once: a list without a limit may have ten thousand, and other calls get their turn in between."""
_LAST = UUID(int=2**128 - 1)


class Runs(Protocol):
    """Runs a statement: the database, each time in a transaction of its own, or a connection within a larger one."""

    async def fetch(self, sql: str, *values: object) -> list[Any]:
        """The rows of a statement."""
        ...


async def fetch_page(runs: Runs, sql: str, column: str, page: Page, *values: object) -> list[Any]:
    """The rows of a page in reading order.

    Args:
        runs: the database.
        sql: up to a WHERE clause with at least one condition, with ``values`` for its parameters; one column is ``id``.
        column: the id that the rows are ordered by.
        page: what was asked for.
        values: of the parameters.
    """
    sign, order, cursor = (">", "ASC", page.before) if page.before else ("<", "DESC", page.after or _LAST)
    number = len(values) + 1
    statement = f"{sql} AND {column} {sign} ${number} ORDER BY {column} {order} LIMIT ${number + 1}"
    rows: list[Any] = []
    while True:
        size = SLICE if page.fetch is None else min(SLICE, page.fetch - len(rows))
        part = await runs.fetch(statement, *values, cursor, size)
        rows += part
        if len(part) < size or len(rows) == page.fetch:
            return rows
        cursor = part[-1]["id"]
