"""Reads of the overrides that the tracker keeps."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.shaping import Scope
from mailwarren.ingest.adapters.database import Database
from mailwarren.ingest.adapters.soon import soon
from mailwarren.ingest.domain.cursor import Page
from mailwarren.ingest.domain.shaping import Held

_ALL = """
SELECT id, scope, name, since, until, suspend, connections, rate, cause, sample, ended_at, ended_by, lane
FROM shaping_overrides WHERE scope IS NOT NULL AND since IS NOT NULL AND until IS NOT NULL
"""
"""But for those of which only the end is known yet."""
_IN_FORCE = f"{_ALL} AND until > now() AND (ended_at IS NULL OR ended_at > now())"


class Overrides:
    """Limits and suspensions, in force and past."""

    def __init__(self, database: Database, wait: float) -> None:
        self._database = database
        self._wait = wait

    async def page(self, page: Page, *, past: bool) -> list[Held] | None:
        """Newest first, in reading order; with those that have ended if ``past``. None: the cursor is none of them.

        Raises:
            DatabaseDown: not readable now.
        """
        known = _ALL if past else _IN_FORCE
        cursor = page.after or page.before
        if cursor is None:
            return _held(await self._database.fetch(f"{known} ORDER BY since DESC, id DESC LIMIT $1", page.fetch))
        at = await self._database.fetchrow("SELECT since FROM shaping_overrides WHERE id = $1", cursor)
        if at is None or at["since"] is None:
            return None
        beyond, order = ("<", "DESC") if page.after else (">", "ASC")
        sql = f"{known} AND (since, id) {beyond} ($1, $2) ORDER BY since {order}, id {order} LIMIT $3"
        return _held(await self._database.fetch(sql, at["since"], cursor, page.fetch))

    async def find(self, ident: UUID) -> Held | None:
        """One of them, after having waited for the tracker to record it.

        Raises:
            DatabaseDown: not readable now.
        """
        row = await soon(lambda: self._database.fetchrow(f"{_ALL} AND id = $1", ident), self._wait)
        return _held([row])[0] if row is not None else None

    async def in_force(self, tenant: UUID | None = None) -> list[Held]:
        """Those of all sites, and of the tenant (of all for None).

        Raises:
            DatabaseDown: not readable now.
        """
        found = _held(await self._database.fetch(f"{_IN_FORCE} ORDER BY since, id"))
        return [one for one in found if tenant is None or one.scope is Scope.SITE or one.name == str(tenant)]


def _held(rows: Sequence[Any]) -> list[Held]:
    return [
        Held(**{name: value for name, value in row.items() if name not in ("id", "scope", "lane")},
             id=UUID(str(row["id"])), scope=Scope(row["scope"]), lane=row["lane"] and Lane(row["lane"]))
        for row in rows
    ]  # fmt: skip
