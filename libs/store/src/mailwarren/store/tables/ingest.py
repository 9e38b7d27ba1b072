"""Who may call the API, which calls were made, and what is to be done when: tables that ingest alone writes.

A deleted key stays as a row with ``deleted_at``: the API processes learn of every change by asking for the rows that
changed since they last asked.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Double,
    Index,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from mailwarren.store.metadata import metadata, one_of

Time = DateTime(timezone=True)

PERMISSIONS = ("full_access", "sending_access")

tenants = Table(
    "tenants",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("created_at", Time, nullable=False),
    comment="Writer: ingest. Whose mail it is; every other row names its tenant.",
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("tenant", Uuid, nullable=False),
    Column("name", Text, nullable=False),
    Column("permission", Text, nullable=False),
    Column("domains", ARRAY(Text)),
    Column("prefix", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("created_at", Time, nullable=False),
    Column("updated_at", Time, nullable=False, index=True),
    Column("last_used_at", Time),
    Column("deleted_at", Time),
    UniqueConstraint("hash"),
    one_of("permission", PERMISSIONS),
    comment=(
        "Writer: ingest. API keys; hash is SHA-256 of the token, prefix its first characters. domains null means that "
        "any domain may be sent from."
    ),
)
Index("ix_api_keys_page", api_keys.c.tenant, api_keys.c.created_at.desc(), api_keys.c.id.desc())

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("base", Uuid, nullable=False),
    Column("owner", Uuid, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("lease_until", Time, nullable=False),
    Column("answer", LargeBinary),
    Column("status", SmallInteger),
    Column("created_at", Time, nullable=False, index=True),
    comment=(
        "Writer: ingest. Calls with an Idempotency-Key, for 24 hours: base is the id that their ids come from, owner "
        "the call that holds the claim until lease_until; answer and its HTTP status are null until one was given."
    ),
)

periodic_jobs = Table(
    "periodic_jobs",
    metadata,
    Column("name", Text, primary_key=True),
    Column("every", Double, nullable=False),
    Column("next_run_at", Time, nullable=False),
    Column("run_id", Uuid),
    Column("due_at", Time),
    Column("released_at", Time),
    Column("started_at", Time),
    Column("ended_at", Time),
    Column("attempt", SmallInteger),
    Column("result", Text),
    Column("trouble", Text),
    Column("runs", BigInteger, nullable=False, server_default=text("0")),
    comment=(
        "Writer: ingest. Work that comes again every so many seconds. The scheduler releases what is due (run_id, "
        "due_at, released_at) and a worker notes what came of it: result, or trouble when the last try failed."
    ),
)
