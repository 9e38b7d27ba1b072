"""Broadcasts: one content to all of a segment, which ingest writes and its workers expand: ``docs/adr/0030``."""

from sqlalchemy import Column, DateTime, Index, Integer, LargeBinary, Table, Text, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from mailwarren.contracts.lanes import Lane
from mailwarren.store.metadata import metadata, one_of
from mailwarren.store.states import BroadcastState

Time = DateTime(timezone=True)

broadcasts = Table(
    "broadcasts",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("tenant", Uuid, nullable=False),
    Column("state", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("segment", Uuid, nullable=False),
    Column("topic", Uuid),
    Column("lane", Text, nullable=False),
    Column("sender", Text),
    Column("subject", Text),
    Column("reply_to", ARRAY(Text), nullable=False),
    Column("preview_text", Text, nullable=False),
    Column("html", Text),
    Column("text", Text),
    Column("template", JSONB),
    Column("resend_of", Uuid),
    Column("resend_states", ARRAY(Text)),
    Column("created_at", Time, nullable=False),
    Column("updated_at", Time, nullable=False),
    Column("due_at", Time),
    Column("started_at", Time),
    Column("ended_at", Time),
    Column("mail", LargeBinary),
    Column("cursor", Uuid),
    Column("upto", Uuid),
    Column("published", Integer, nullable=False, server_default=text("0")),
    Column("audience", JSONB),
    Column("owner", Uuid),
    Column("lease_until", Time),
    Column("order_at", Time),
    Column("orders", Integer, nullable=False, server_default=text("0")),
    Column("trouble", Text),
    Column("told_at", Time),
    one_of("state", BroadcastState),
    one_of("lane", Lane),
    comment=(
        "Writer: ingest. Kept until somebody deletes it, once sent or canceled as long as its emails. mail is what is "
        "sent, from the moment of send on. Contacts up to cursor are published, those up to upto may be. owner expands "
        "it until lease_until; the scheduler orders a worker at order_at. audience: the segment as it was at the "
        "start. told_at: when the senders heard of the cancel."
    ),
)
Index("ix_broadcasts_page", broadcasts.c.tenant, broadcasts.c.id)
Index("ix_broadcasts_segment", broadcasts.c.tenant, broadcasts.c.segment)
Index(
    "ix_broadcasts_open",
    broadcasts.c.state,
    broadcasts.c.order_at,
    postgresql_where=text("state IN ('scheduled', 'queued', 'sending')"),
)
Index(
    "ix_broadcasts_untold",
    broadcasts.c.ended_at,
    postgresql_where=text("state = 'canceled' AND told_at IS NULL"),
)
Index(
    "uq_broadcasts_resend_of",
    broadcasts.c.tenant,
    broadcasts.c.resend_of,
    unique=True,
    postgresql_where=broadcasts.c.resend_of.is_not(None),
)
