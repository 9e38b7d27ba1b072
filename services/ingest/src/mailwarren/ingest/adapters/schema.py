"""Whether the database's schema is one that this version can work with; looked at again for as long as it runs."""

import asyncio

import structlog

from mailwarren.ingest.adapters.database import Database, DatabaseDown
from mailwarren.store.engine import database_trouble
from mailwarren.store.history import trouble

log = structlog.get_logger()

FIRST = 1.0
"""Seconds between two looks until the schema serves."""
LATER = 15.0
"""The same afterwards: a newer version may contract the schema under this one."""


class Schema:
    """What is known about the schema. A database that goes away changes nothing about it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.trouble: str | None = "the schema has not been looked at yet"
        """Why this version cannot work with it; None when it can."""

    async def follow(self) -> None:
        """Look for ever."""
        seen = False
        while True:
            try:
                async with self._database.connection() as connection:
                    self.trouble = await trouble(connection)
                seen = True
            except DatabaseDown as error:
                if not seen:
                    self.trouble = database_trouble(error.__cause__ or error)
            except Exception as error:  # noqa: BLE001 - readiness must be followed, whatever the reason
                self.trouble = database_trouble(error)
            await asyncio.sleep(FIRST if self.trouble else LATER)
