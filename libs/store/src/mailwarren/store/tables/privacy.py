"""What a person asks for: what is stored of an address, or that it be erased (``docs/adr/0039``). Writer: ingest."""

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    Uuid,
)
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import JSONB

from mailwarren.store.metadata import metadata, one_of
from mailwarren.store.states import PrivacyKind, PrivacyState

Time = DateTime(timezone=True)

privacy_requests = Table(
    "privacy_requests",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("address", Text),
    Column("stage", Integer, nullable=False, server_default=sql("0")),
    Column("place", JSONB),
    Column("counts", JSONB, nullable=False, server_default=sql("'{}'")),
    Column("parts", Integer, nullable=False, server_default=sql("0")),
    Column("size", BigInteger, nullable=False, server_default=sql("0")),
    Column("error", Text),
    Column("order_id", Uuid),
    Column("issued", Integer, nullable=False, server_default=sql("0")),
    Column("holder", Uuid),
    Column("due_at", Time, nullable=False),
    Column("created_at", Time, nullable=False),
    Column("updated_at", Time, nullable=False),
    Column("ended_at", Time),
    one_of("kind", PrivacyKind),
    one_of("state", PrivacyState),
    comment=(
        "Writer: ingest. Exports and erasures of an address (lower case; null once it is erased). stage and place say "
        "how far it is, together with what was done. order_id is the order that may work on it, holder the worker that "
        "does, due_at when the scheduler gives another order. Kept for MAILWARREN_PRIVACY_DAYS after its end."
    ),
)
Index(
    "ix_privacy_requests_open",
    privacy_requests.c.due_at,
    postgresql_where=sql("state IN ('queued', 'in_progress')"),
)

privacy_parts = Table(
    "privacy_parts",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("request", Uuid, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),
    ForeignKeyConstraint(["tenant", "request"], ["privacy_requests.tenant", "privacy_requests.id"], ondelete="CASCADE"),
    comment=(
        "Writer: ingest. What an export found, in pieces: lines of JSON of one kind, deflated. Deleted "
        "MAILWARREN_EXPORT_DAYS after the end of its request."
    ),
)

erasure_keys = Table(
    "erasure_keys",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("secret", LargeBinary, nullable=False),
    Column("created_at", Time, nullable=False),
    comment=(
        "Writer: ingest. The key of a tenant's erased_addresses, 32 octets, made with the first of them. Kept as "
        "long as the tenant."
    ),
)

erased_addresses = Table(
    "erased_addresses",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("hash", LargeBinary, primary_key=True),
    Column("created_at", Time, nullable=False),
    comment=(
        "Writer: ingest. Addresses that were erased and get no mail any more: SHA-256 of the tenant's erasure key and "
        "the address (lower case). Kept until the address is admitted again."
    ),
)
