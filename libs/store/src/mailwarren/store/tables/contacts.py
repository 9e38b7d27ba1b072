"""Whom a tenant may write to: contacts, what is known about them, and how they are grouped and asked.

Ids are UUIDv7, so that the order of ids is the order of making. What is deleted as a whole (a property, a segment, a
topic) gets ``deleted_at`` and is gone for everybody; what hung on it is removed in small steps by retention. A contact
is deleted at once with all of its memberships and choices.
"""

from sqlalchemy import Boolean, Column, DateTime, ForeignKeyConstraint, Index, Table, Text, UniqueConstraint, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB

from mailwarren.store.metadata import metadata, one_of
from mailwarren.store.states import PropertyType, Subscription, Visibility

Time = DateTime(timezone=True)

contacts = Table(
    "contacts",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("email", Text, nullable=False),
    Column("email_key", Text, nullable=False),
    Column("first_name", Text),
    Column("last_name", Text),
    Column("unsubscribed", Boolean, nullable=False),
    Column("properties", JSONB, nullable=False),
    Column("created_at", Time, nullable=False),
    Column("updated_at", Time, nullable=False),
    UniqueConstraint("tenant", "email_key"),
    comment=(
        "Writer: ingest. People, until somebody deletes them. email as it was given first, email_key in lower case "
        "with the domain in A-labels: one contact each. properties are values by the id (hex) of their contact "
        "property."
    ),
)

contact_properties = Table(
    "contact_properties",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("key", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("fallback", JSONB),
    Column("created_at", Time, nullable=False),
    Column("updated_at", Time, nullable=False),
    Column("deleted_at", Time),
    one_of("type", PropertyType),
    comment="Writer: ingest. What a tenant keeps about contacts: a name, a type, and the value for who has none.",
)
Index(
    "uq_contact_properties_key",
    contact_properties.c.tenant,
    contact_properties.c.key,
    unique=True,
    postgresql_where=contact_properties.c.deleted_at.is_(None),
)

segments = Table(
    "segments",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("created_at", Time, nullable=False),
    Column("updated_at", Time, nullable=False),
    Column("deleted_at", Time),
    comment="Writer: ingest. Lists of contacts with a name (audiences, in the older paths of the API).",
)

contact_segments = Table(
    "contact_segments",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("segment", Uuid, primary_key=True),
    Column("contact", Uuid, primary_key=True),
    Column("created_at", Time, nullable=False, server_default=text("now()")),
    ForeignKeyConstraint(["tenant", "segment"], ["segments.tenant", "segments.id"]),
    ForeignKeyConstraint(["tenant", "contact"], ["contacts.tenant", "contacts.id"], ondelete="CASCADE"),
    comment="Writer: ingest. Who is in which segment, for as long as both are there.",
)
Index("ix_contact_segments_contact", contact_segments.c.tenant, contact_segments.c.contact)

topics = Table(
    "topics",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("default_subscription", Text, nullable=False),
    Column("visibility", Text, nullable=False),
    Column("created_at", Time, nullable=False),
    Column("updated_at", Time, nullable=False),
    Column("deleted_at", Time),
    one_of("default_subscription", Subscription),
    one_of("visibility", Visibility),
    comment="Writer: ingest. Subjects that contacts can take or leave; default_subscription is for who has not chosen.",
)

contact_topics = Table(
    "contact_topics",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("contact", Uuid, primary_key=True),
    Column("topic", Uuid, primary_key=True),
    Column("subscription", Text, nullable=False),
    Column("updated_at", Time, nullable=False),
    ForeignKeyConstraint(["tenant", "topic"], ["topics.tenant", "topics.id"]),
    ForeignKeyConstraint(["tenant", "contact"], ["contacts.tenant", "contacts.id"], ondelete="CASCADE"),
    one_of("subscription", Subscription),
    comment="Writer: ingest. What a contact chose about a topic; no row for who has not chosen.",
)
Index("ix_contact_topics_topic", contact_topics.c.tenant, contact_topics.c.topic)
