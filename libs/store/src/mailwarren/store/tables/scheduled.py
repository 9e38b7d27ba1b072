"""Emails that are to be sent later, which ingest writes and the scheduler releases: ``docs/adr/0028``."""

from sqlalchemy import Column, DateTime, Index, Integer, LargeBinary, SmallInteger, Table, Text, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB

from mailwarren.contracts.lanes import Lane
from mailwarren.store.metadata import metadata, one_of
from mailwarren.store.states import ScheduleState

Time = DateTime(timezone=True)

scheduled_contents = Table(
    "scheduled_contents",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("tenant", Uuid, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("created_at", Time, nullable=False, index=True),
    comment=(
        "Writer: ingest. html and text of scheduled emails, once for all rows of a bulk call; forgotten when no row of "
        "scheduled names it."
    ),
)

scheduled = Table(
    "scheduled",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("tenant", Uuid, nullable=False),
    Column("base", Uuid, nullable=False),
    Column("position", Integer, nullable=False),
    Column("lane", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("due_at", Time, nullable=False),
    Column("created_at", Time, nullable=False),
    Column("mail", LargeBinary),
    Column("content", Uuid),
    Column("size", Integer, nullable=False),
    Column("attempts", SmallInteger, nullable=False, server_default=text("0")),
    Column("owner", Uuid),
    Column("lease_until", Time),
    Column("held_at", Time),
    Column("ended_at", Time),
    Column("history", JSONB, nullable=False),
    one_of("lane", Lane),
    one_of("state", ScheduleState),
    comment=(
        "Writer: ingest. Emails to be sent at due_at, by the id that they will have in the ledger. base and position: "
        "the call and the place in it. owner releases it until lease_until; with attempts above 0 it may be in the "
        "broker. mail is all but content (size bytes); both are null some days after the release."
    ),
)
Index(
    "ix_scheduled_due",
    scheduled.c.lane,
    scheduled.c.due_at,
    scheduled.c.base,
    scheduled.c.position,
    postgresql_where=text("state = 'scheduled'"),
)
Index(
    "ix_scheduled_open",
    scheduled.c.tenant,
    scheduled.c.due_at,
    scheduled.c.id,
    postgresql_where=text("state IN ('scheduled', 'held')"),
)
Index(
    "ix_scheduled_page",
    scheduled.c.tenant,
    scheduled.c.created_at.desc(),
    scheduled.c.id.desc(),
    postgresql_where=text("state <> 'released'"),
)
Index("ix_scheduled_content", scheduled.c.content, postgresql_where=scheduled.c.content.is_not(None))
Index("ix_scheduled_ended_at", scheduled.c.ended_at, postgresql_where=scheduled.c.ended_at.is_not(None))
