"""Contacts with all that belongs to them, as the API works with them."""

from collections.abc import Collection, Sequence
from uuid import UUID

from mailwarren.contracts.webhooks import EventType
from mailwarren.ingest.adapters.contacts import Contacts, Upserted
from mailwarren.ingest.adapters.database import Database
from mailwarren.ingest.adapters.properties import Properties
from mailwarren.ingest.adapters.segments import Segments
from mailwarren.ingest.adapters.topics import Topics
from mailwarren.ingest.adapters.webhook_notices import WebhookNotices
from mailwarren.ingest.domain.contacts import ContactChange, ContactRow
from mailwarren.ingest.domain.properties import Value
from mailwarren.ingest.domain.topics import Choice, TopicChange
from mailwarren.store.states import Subscription, Visibility


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
            kind = EventType.CONTACT_CREATED if done.made else EventType.CONTACT_UPDATED
            await WebhookNotices(connection).contacts(tenant, kind, [done.id])
        return done

    async def update(
        self, tenant: UUID, ident: UUID, change: ContactChange, properties: dict[str, Value | None]
    ) -> bool:
        """Change a contact, and tell of it; whether there was such a contact."""
        async with self._database.connection() as connection, connection.transaction():
            done = await Contacts(connection).update(tenant, ident, change, properties)
            await WebhookNotices(connection).contacts(tenant, EventType.CONTACT_UPDATED, [ident])
        return done

    async def delete(self, tenant: UUID, ident: UUID) -> bool:
        """Erase a contact, and tell of it; whether there was such a contact."""
        async with self._database.connection() as connection, connection.transaction():
            await WebhookNotices(connection).contacts(tenant, EventType.CONTACT_DELETED, [ident])
            return await Contacts(connection).delete(tenant, ident)

    async def choose(self, tenant: UUID, contact: UUID, choices: Sequence[Choice]) -> None:
        """Note what a contact chose about topics, and tell of it."""
        async with self._database.connection() as connection, connection.transaction():
            await Topics(connection).choose(tenant, [contact], choices)
            await WebhookNotices(connection).choices(tenant, [contact], {choice.id for choice in choices})

    async def create_topic(
        self, tenant: UUID, name: str, description: str, default: Subscription, visibility: Visibility
    ) -> UUID | None:
        """Make a topic, and tell of it; None when the tenant has as many as it may."""
        async with self._database.connection() as connection, connection.transaction():
            ident = await Topics(connection).create(tenant, name, description, default, visibility)
            if ident is not None:
                await WebhookNotices(connection).topic(tenant, EventType.TOPIC_CREATED, ident)
        return ident

    async def update_topic(self, tenant: UUID, ident: UUID, change: TopicChange) -> bool:
        """Change a topic, and tell of it; whether there was such a topic."""
        async with self._database.connection() as connection, connection.transaction():
            done = await Topics(connection).update(tenant, ident, change)
            if done:
                await WebhookNotices(connection).topic(tenant, EventType.TOPIC_UPDATED, ident)
        return done

    async def delete_topic(self, tenant: UUID, ident: UUID) -> bool:
        """Forget a topic, and tell of it; whether there was such a topic."""
        async with self._database.connection() as connection, connection.transaction():
            done = await Topics(connection).delete(tenant, ident)
            if done:
                await WebhookNotices(connection).topic(tenant, EventType.TOPIC_DELETED, ident)
        return done
