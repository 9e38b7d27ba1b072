"""Pages of the emails that a caller chooses by recipient, state or tag: each from an index that has their order.

By recipient and state they are ordered by when they were accepted, by tag by when they were asked for; the two differ
for what was scheduled. What is scheduled still is in no index: it is listed by itself.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from mailwarren.ingest.adapters.database import Database
from mailwarren.ingest.adapters.reads import BESIDE, HEAD, STATES
from mailwarren.ingest.domain.cursor import Page
from mailwarren.ingest.domain.listing import Filter, InState, Tagged, ToAddress

_ACCEPTED = "SELECT max(accepted_at) AS at FROM deliveries WHERE tenant = $1 AND email_id = $2"
_ASKED = "SELECT created_at AS at FROM emails WHERE tenant = $1 AND id = $2"


@dataclass(frozen=True, slots=True)
class _Index:
    """Where emails are found in their order.

    Args:
        rows: FROM and WHERE, with ``values`` from $3 on.
        at: the column of their times.
        values: what is looked for.
        cursor: SQL for the time of an email.
        once: an email may stand there several times, next to each other.
    """

    rows: str
    at: str
    values: tuple[str, ...]
    cursor: str
    once: bool


class Listings:
    """Everything is asked for a tenant; another tenant's email does not exist."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, tenant: UUID, chosen: Filter, page: Page) -> list[Any] | None:
        """Rows of a page in reading order, or None when the cursor is no email of the tenant.

        Raises:
            DatabaseDown: not readable now.
        """
        index, cursor = _index(chosen), page.after or page.before
        beyond: tuple[datetime, UUID] | None = None
        if cursor is not None:
            row = await self._database.fetchrow(index.cursor, tenant, cursor)
            if row is None or row["at"] is None:
                return None
            beyond = row["at"], cursor
        sql = _page(index, upwards=page.before is not None, beyond=beyond is not None)
        return await self._database.fetch(sql, tenant, page.fetch, *index.values, *(beyond or ()))


def _index(chosen: Filter) -> _Index:
    if isinstance(chosen, Tagged):
        rows = "email_tags f WHERE f.tenant = $1 AND f.name = $3 AND f.value = $4"
        return _Index(rows, "created_at", (chosen.name, chosen.value), _ASKED, once=False)
    condition, value = _condition(chosen)
    rows = f"deliveries f WHERE f.tenant = $1 AND {condition} AND f.accepted_at IS NOT NULL"
    return _Index(rows, "accepted_at", (value,), _ACCEPTED, once=True)


def _condition(chosen: ToAddress | InState) -> tuple[str, str]:
    if isinstance(chosen, InState):
        return "f.state = $3", chosen.state.value
    # The first for the index, whose lower() is that of the database's locale; the second for the key.
    return 'lower(f.address) = lower($3::text) AND lower(f.address COLLATE "C") = $3', chosen.address


def _page(index: _Index, *, upwards: bool, beyond: bool) -> str:
    sign, order = (">", "ASC") if upwards else ("<", "DESC")
    place = f"f.{index.at}, f.email_id"
    number = 3 + len(index.values)
    # Without an OR, which no index could be searched with.
    rest = f"AND ({place}) {sign} (${number}, ${number + 1})" if beyond else ""
    once = f"DISTINCT ON ({place})" if index.once else ""
    return f"""{HEAD}{STATES} FROM (
  SELECT {once} f.{index.at} AS at, f.email_id AS id FROM {index.rows} {rest}
  ORDER BY f.{index.at} {order}, f.email_id {order} LIMIT $2
) o JOIN emails e ON e.id = o.id {BESIDE} ORDER BY o.at {order}, o.id {order}"""  # noqa: S608 - constants
