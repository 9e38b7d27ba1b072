"""Calls of the API, as the ingest API alone writes them."""

from sqlalchemy import Column, DateTime, Index, SmallInteger, Table, Text, Uuid

from mailwarren.store.metadata import metadata

Time = DateTime(timezone=True)

api_logs = Table(
    "api_logs",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("created_at", Time, nullable=False),
    Column("api_key", Uuid, nullable=False),
    Column("method", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("user_agent", Text, nullable=False),
    Column("request_body", Text),
    Column("response_body", Text),
    comment=(
        "Writer: ingest. Calls of the API, for MAILWARREN_API_LOGS_DAYS: bodies as JSON, without secrets, contents "
        "and names of mailboxes. A call that came while too many waited to be written has no row, and is counted."
    ),
)
Index("ix_api_logs_created_at", api_logs.c.created_at)
