"""Files of mails: what the blob store holds, and which email refers to it. Ingest alone writes these tables."""

from sqlalchemy import BigInteger, Column, DateTime, Index, LargeBinary, SmallInteger, Table, Text, Uuid

from mailwarren.store.metadata import metadata

Time = DateTime(timezone=True)

blobs = Table(
    "blobs",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("created_at", Time, nullable=False),
    Column("last_used_at", Time, nullable=False, index=True),
    Column("stored_at", Time),
    comment=(
        "Writer: ingest. Objects of the blob store by SHA-256, shared by all tenants; who may see one stands in "
        "email_attachments. stored_at is null while the object may be missing. Kept for MAILWARREN_BLOBS_DAYS after "
        "its last use while nothing refers to it."
    ),
)

email_attachments = Table(
    "email_attachments",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("email_id", Uuid, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("position", SmallInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False, index=True),
    Column("filename", Text, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("content_id", Text),
    Column("size", BigInteger, nullable=False),
    Column("created_at", Time, nullable=False),
    comment=(
        "Writer: ingest. The files of an email in their order, written before it is published. Kept for "
        "MAILWARREN_ATTACHMENTS_DAYS, and as long as a delivery of the email has no end."
    ),
)
Index("ix_email_attachments_created_at", email_attachments.c.created_at)
