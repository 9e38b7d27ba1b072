"""Reads of the negotiations of TLS that the tracker counts."""

from typing import Any
from uuid import UUID

from mailwarren.ingest.adapters.database import Database
from mailwarren.ingest.domain.tls_reports import Wanted

_COUNTS = """
SELECT r.domain, r.policy, r.result, r.mx, r.ip, r.sessions, r.detail, r.policy_string, r.mx_host
FROM (
  SELECT DISTINCT domain FROM tls_results
  WHERE tenant = $1 AND day = $2 AND domain > $3 AND ($4::text IS NULL OR domain = $4) ORDER BY domain LIMIT $5
) AS page JOIN tls_results r ON r.tenant = $1 AND r.day = $2 AND r.domain = page.domain
ORDER BY r.domain, r.policy, r.result, r.mx, r.ip
"""


class TlsReports:
    """Counts of a tenant's mail."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def counts(self, tenant: UUID, wanted: Wanted) -> list[Any]:
        """All rows of the wanted domains, and of one more when there is one.

        Raises:
            DatabaseDown: not readable now.
        """
        return await self._database.fetch(_COUNTS, tenant, wanted.day, wanted.after, wanted.domain, wanted.limit + 1)
