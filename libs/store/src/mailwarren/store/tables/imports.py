"""Imports of contacts from CSV files, which ingest's API takes in and its worker works off: ``docs/adr/0029``."""

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from mailwarren.store.metadata import metadata, one_of
from mailwarren.store.states import ImportState

Time = DateTime(timezone=True)
_NONE = text("0")

contact_imports = Table(
    "contact_imports",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("state", Text, nullable=False),
    Column("filename", Text, nullable=False),
    Column("plan", JSONB),
    Column("on_conflict", Text),
    Column("segments", ARRAY(Uuid)),
    Column("choices", JSONB),
    Column("size", BigInteger, nullable=False, server_default=_NONE),
    Column("position", BigInteger, nullable=False, server_default=_NONE),
    Column("line", BigInteger, nullable=False, server_default=_NONE),
    Column("created", BigInteger, nullable=False, server_default=_NONE),
    Column("updated", BigInteger, nullable=False, server_default=_NONE),
    Column("skipped", BigInteger, nullable=False, server_default=_NONE),
    Column("failed", BigInteger, nullable=False, server_default=_NONE),
    Column("error", Text),
    Column("order_id", Uuid),
    Column("issued", Integer, nullable=False, server_default=_NONE),
    Column("holder", Uuid),
    Column("tries", SmallInteger, nullable=False, server_default=_NONE),
    Column("due_at", Time, nullable=False),
    Column("created_at", Time, nullable=False),
    Column("updated_at", Time, nullable=False),
    Column("ended_at", Time),
    one_of("state", ImportState),
    comment=(
        "Writer: ingest. A file of contacts and how far it is worked off: position (octets), line and the counts change"
        " together with the contacts of a batch. plan says which column is what. order_id is the order that may work on"
        " it, holder the worker that does, due_at when the scheduler gives another order. Kept for"
        " MAILWARREN_IMPORTS_DAYS after its end."
    ),
)
Index(
    "ix_contact_imports_open",
    contact_imports.c.tenant,
    contact_imports.c.id,
    postgresql_where=text("state IN ('queued', 'in_progress')"),
)

contact_import_chunks = Table(
    "contact_import_chunks",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("import_id", Uuid, primary_key=True),
    Column("starts", BigInteger, primary_key=True),
    Column("data", LargeBinary, nullable=False),
    ForeignKeyConstraint(["tenant", "import_id"], ["contact_imports.tenant", "contact_imports.id"], ondelete="CASCADE"),
    comment=(
        "Writer: ingest. An import's file as UTF-8, in pieces, each by the octet that it starts at; deleted when the"
        " import has ended."
    ),
)

contact_import_errors = Table(
    "contact_import_errors",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("import_id", Uuid, primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("line", BigInteger, nullable=False),
    Column("cells", JSONB, nullable=False),
    Column("error", Text, nullable=False),
    ForeignKeyConstraint(["tenant", "import_id"], ["contact_imports.tenant", "contact_imports.id"], ondelete="CASCADE"),
    comment="Writer: ingest. Rows of an import that made no contact, and why not; deleted with the import.",
)
