"""What the blob store holds, and the attachments of emails."""

import sqlalchemy as sa
from alembic import op

revision = "0014_blobs"
down_revision = "0013_schedules"
branch_labels = None
depends_on = None
step = "expand"

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "blobs",
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("last_used_at", TIME, nullable=False),
        sa.Column("stored_at", TIME),
        sa.PrimaryKeyConstraint("digest", name="pk_blobs"),
        comment=(
            "Writer: ingest. Objects of the blob store by SHA-256, shared by all tenants; who may see one stands in "
            "email_attachments. stored_at is null while the object may be missing. Kept for MAILWARREN_BLOBS_DAYS "
            "after its last use while nothing refers to it."
        ),
    )
    op.create_index("ix_blobs_last_used_at", "blobs", ["last_used_at"])
    op.create_table(
        "email_attachments",
        sa.Column("tenant", sa.Uuid, nullable=False),
        sa.Column("email_id", sa.Uuid, nullable=False),
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("position", sa.SmallInteger, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("content_type", sa.Text, nullable=False),
        sa.Column("content_id", sa.Text),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "email_id", "id", name="pk_email_attachments"),
        comment=(
            "Writer: ingest. The files of an email in their order, written before it is published. Kept for "
            "MAILWARREN_ATTACHMENTS_DAYS, and as long as a delivery of the email has no end."
        ),
    )
    op.create_index("ix_email_attachments_digest", "email_attachments", ["digest"])
    op.create_index("ix_email_attachments_created_at", "email_attachments", ["created_at"])


def downgrade() -> None:
    """Drop them; the objects stay in the blob store."""
    for table in ("email_attachments", "blobs"):
        op.drop_table(table)
