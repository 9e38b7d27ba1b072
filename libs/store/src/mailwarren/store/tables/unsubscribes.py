"""Who does not want what goes to lists: by address, whether it is a contact's or not (``docs/adr/0035``)."""

from sqlalchemy import Column, DateTime, Index, Table, Text, Uuid, text

from mailwarren.store.metadata import NEW_ID, metadata, one_of
from mailwarren.store.states import Leaving

unsubscribes = Table(
    "unsubscribes",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("topic", Uuid, primary_key=True),
    Column("address", Text, primary_key=True),
    Column("id", Uuid, nullable=False, server_default=text(NEW_ID)),
    Column("reason", Text, nullable=False),
    Column("source", Uuid),
    Column("created_at", DateTime(timezone=True), nullable=False),
    one_of("reason", Leaving),
    comment=(
        "Writer: ingest. Addresses (lower case) that get no mail about a topic; topic 0: none that goes to a list. The "
        "same stands in contacts.unsubscribed and contact_topics where the address is a contact's. source: the call or "
        "broadcast whose link was followed. Kept until the address wants it again."
    ),
)
Index("uq_unsubscribes_id", unsubscribes.c.tenant, unsubscribes.c.id, unique=True)
Index("ix_unsubscribes_page", unsubscribes.c.tenant, unsubscribes.c.topic, unsubscribes.c.id)
Index("ix_unsubscribes_address", unsubscribes.c.tenant, unsubscribes.c.address)
