"""Reads of the counters that the tracker keeps, and of single emails straight from the ledger."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from mailwarren.contracts.counters import COUNTERS, NO_BROADCAST
from mailwarren.ingest.adapters.database import Database
from mailwarren.ingest.domain.email_metrics import MOST_ROWS, Wanted, too_much
from mailwarren.store.recount import FACTS

MOST_EMAILS = 1000
"""Emails of a breakdown by email that names none."""
WITHIN = 10.0
_SUMS = ", ".join(f"sum(m.{name})::int8 AS {name}" for name in COUNTERS)
# {0} and {1}: the columns that are looked at, or constants.
_COUNTERS = """
SELECT width_bucket(m.quarter, $4::timestamptz[]) AS period, {0} AS domain, {1} AS broadcast, {2}
FROM email_metrics m
WHERE m.tenant = $1 AND m.quarter >= $2 AND m.quarter < $3 AND ($5::uuid[] IS NULL OR m.broadcast = ANY($5))
GROUP BY 1, 2, 3 LIMIT $6
"""
_LEFT = """
SELECT width_bucket(u.created_at, $4::timestamptz[]) AS period, coalesce(b.sender, '') AS sender, b.id AS broadcast,
  count(*) AS unsubscribed
FROM unsubscribes u LEFT JOIN broadcasts b ON b.tenant = u.tenant AND b.id = u.source
WHERE u.tenant = $1 AND u.reason = 'unsubscribe' AND u.created_at >= $2 AND u.created_at < $3
  AND ($5::uuid[] IS NULL OR u.source = ANY($5))
GROUP BY 1, 2, 3
"""
_OF_EMAILS = f"""
SELECT width_bucket(f.at, $4::timestamptz[]) AS period, f.domain, f.email_id, f.what, count(*) AS number
FROM ({FACTS}) AS f
WHERE f.tenant = $1 AND f.at >= $2 AND f.at < $3 AND f.email_id = ANY($5::uuid[])
GROUP BY 1, 2, 3, 4 LIMIT $6
"""  # noqa: S608 - constants
_EMAILS = "SELECT id FROM emails WHERE tenant = $1 AND created_at >= $2 AND created_at < $3 LIMIT $4"


class EmailMetrics:
    """Counts of a tenant's mail. Every method may raise ``DatabaseDown``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def counters(self, tenant: UUID, wanted: Wanted, periods: Sequence[datetime]) -> list[Any]:
        """Rows with the number of their period (1 is the first), and the domain and broadcast where they matter.

        Raises:
            Refusal: 422, there are too many.
        """
        statement = _COUNTERS.format(
            "m.domain" if wanted.by_domain else "''::text",
            "m.broadcast" if "broadcast" in wanted.dimensions else f"'{NO_BROADCAST}'::uuid",
            _SUMS,
        )
        broadcasts = list(wanted.broadcasts) or None
        return await self._bounded(statement, tenant, wanted.first, wanted.past, list(periods), broadcasts)

    async def unsubscribed(self, tenant: UUID, wanted: Wanted, periods: Sequence[datetime]) -> list[Any]:
        """Those who unsubscribed and have not come back, likewise; ``sender`` is that of the broadcast."""
        broadcasts = list(wanted.broadcasts) or None
        return await self._database.fetch(
            _LEFT, tenant, wanted.first, wanted.past, list(periods), broadcasts, within=WITHIN
        )

    async def of_emails(self, tenant: UUID, wanted: Wanted, periods: Sequence[datetime]) -> list[Any]:
        """What became of single emails, a row for each thing: of those that are named, or were made in that time.

        Raises:
            Refusal: 422, there are too many.
        """
        emails: Collection[UUID] = wanted.emails
        if not emails:
            rows = await self._database.fetch(_EMAILS, tenant, wanted.first, wanted.past, MOST_EMAILS + 1)
            if len(rows) > MOST_EMAILS:
                raise too_much()
            emails = [row["id"] for row in rows]
        return await self._bounded(_OF_EMAILS, tenant, wanted.first, wanted.past, list(periods), list(emails))

    async def domains(self, tenant: UUID) -> dict[str, UUID]:
        """The sending domains by their names."""
        rows = await self._database.fetch(
            "SELECT id, name FROM domains WHERE tenant = $1 AND deleted_at IS NULL", tenant
        )
        return {row["name"]: UUID(str(row["id"])) for row in rows}

    async def broadcast_names(self, tenant: UUID, idents: Collection[UUID]) -> dict[UUID, str]:
        """What broadcasts are called."""
        rows = await self._database.fetch(
            "SELECT id, name FROM broadcasts WHERE tenant = $1 AND id = ANY($2::uuid[])", tenant, list(idents)
        )
        return {UUID(str(row["id"])): row["name"] for row in rows}

    async def _bounded(self, sql: str, *values: object) -> list[Any]:
        rows = await self._database.fetch(sql, *values, MOST_ROWS + 1, within=WITHIN)
        if len(rows) > MOST_ROWS:
            raise too_much()
        return rows
