"""Tenants whose bulk mail is paused: all of them in memory, so that mail is refused at a dictionary's price.

Every process asks once a second. While the database is away, what was read last holds.
"""

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import structlog

from mailwarren.contracts.lanes import Lane
from mailwarren.ingest.adapters.database import Database, DatabaseDown
from mailwarren.ingest.domain.refusal import bulk_paused

log = structlog.get_logger()

REFRESH = 1.0
WINDOW = 24 * 3600
"""Seconds: what the trackers look back over."""

_IN_FORCE = """
SELECT id, name, since, until, cause, sample FROM shaping_overrides
WHERE scope = 'tenant' AND lane = 'bulk' AND suspend AND until > now() AND (ended_at IS NULL OR ended_at > now())
"""
_BOUNCED = "m.bounced_permanent + m.bounced_transient + m.bounced_undetermined"
_LOOK = f"""
SELECT b.state, b.since, b.ended_at, b.ended_by, c.decided, c.bounced, c.complained
FROM (
  SELECT coalesce(sum(m.delivered + {_BOUNCED}), 0)::int8 AS decided, coalesce(sum({_BOUNCED}), 0)::int8 AS bounced,
    coalesce(sum(m.complained), 0)::int8 AS complained
  FROM email_metrics m
  WHERE m.tenant = $1 AND m.quarter > now() - {WINDOW} * interval '1 second'
    AND m.quarter >= coalesce((SELECT counted_from FROM breakers WHERE tenant = $1), '-infinity')
) AS c LEFT JOIN breakers b ON b.tenant = $1
"""  # noqa: S608 - constants


class Pauses:
    """Pauses of bulk mail, as the senders obey them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._why: Mapping[UUID, str] = {}

    def check(self, tenant: UUID, lane: Lane) -> None:
        """Whether mail of a lane may be taken.

        Raises:
            Refusal: 403, it is bulk mail, and that is paused.
        """
        if self._why and lane is Lane.BULK and (why := self._why.get(tenant)) is not None:
            raise bulk_paused(why)

    async def look(self, tenant: UUID) -> Any:
        """How it stands with a tenant's mail: the breaker's state and the last pause, where it has one, and counts.

        Raises:
            DatabaseDown: not readable now; so for all of these.
        """
        return await self._database.fetchrow(_LOOK, tenant)

    async def of(self, tenant: UUID) -> list[Any]:
        """The overrides that hold a tenant's bulk mail."""
        return await self._database.fetch(f"{_IN_FORCE} AND name = $1 ORDER BY since", str(tenant))

    def ended(self, tenant: UUID) -> None:
        """They were ended just now: here this is known before it can be read."""
        self._why = {one: why for one, why in self._why.items() if one != tenant}

    async def refresh(self) -> None:
        """Read them."""
        rows = await self._database.fetch(_IN_FORCE)
        self._why = {UUID(row["name"]): row["sample"] or row["cause"] for row in rows}

    async def follow(self) -> None:
        """Refresh for ever."""
        down = False
        while True:
            try:
                await self.refresh()
                down = False
            except DatabaseDown as error:
                if not down:
                    log.warning("ingest.pauses.unreadable", error=str(error))
                down = True
            except Exception:
                # Whatever the reason, they must be followed again.
                log.exception("ingest.pauses.failed")
            await asyncio.sleep(REFRESH)
