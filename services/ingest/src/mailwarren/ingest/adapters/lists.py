"""Contacts with all that belongs to them, as the API works with them."""

from collections.abc import Collection, Sequence
from uuid import UUID

from mailwarren.ingest.adapters.contacts import Contacts, Upserted
from mailwarren.ingest.adapters.database import Database
from mailwarren.ingest.adapters.properties import Properties
from mailwarren.ingest.adapters.segments import Segments
from mailwarren.ingest.adapters.topics import Topics
from mailwarren.ingest.domain.contacts import ContactRow
from mailwarren.ingest.domain.topics import Choice


class Lists:
    """Statements of their own on all of them, and what needs several in one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.contacts = Contacts(database)
        self.properties = Properties(database)
        self.segments = Segments(database)
        self.topics = Topics(database)

    async def create(
        self, tenant: UUID, row: ContactRow, segments: Collection[UUID], choices: Sequence[Choice]
    ) -> Upserted:
        """Make a contact, or bring it up to date, with its segments and choices: all of it or nothing.

        Raises:
            DatabaseDown: whether it was done is unknown; it may be repeated.
        """
        async with self._database.connection() as connection, connection.transaction():
            [done] = await Contacts(connection).upsert(tenant, [row], "upsert")
            await Segments(connection).add(tenant, [done.id], segments)
            await Topics(connection).choose(tenant, [done.id], choices)
        return done
