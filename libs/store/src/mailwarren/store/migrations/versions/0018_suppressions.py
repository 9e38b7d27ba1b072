"""Suppressions are pages of a list with ids of their own, and who does not want what goes to lists."""

import sqlalchemy as sa
from alembic import op

revision = "0018_suppressions"
down_revision = "0017_tls"
branch_labels = None
depends_on = None
step = "expand"

TIME = sa.DateTime(timezone=True)
# A UUIDv7 of a moment.
ID = (
    "encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING substring(int8send((extract(epoch FROM "
    "{}) * 1000)::bigint) FROM 3) FROM 1 FOR 6), 52, 1), 53, 1), 'hex')::uuid"
)
BEFORE = "Writer: tracker. Addresses (lower case) that get none of a tenant's mail; reason is a bounce class."


def upgrade() -> None:
    """Give what is there ids, and create the table of ingest's."""
    # In steps: a column that is added with a default of this kind has the whole table rewritten under a lock.
    op.add_column("suppressions", sa.Column("id", sa.Uuid))
    op.alter_column("suppressions", "id", server_default=sa.text(ID.format("clock_timestamp()")))
    op.execute(f"UPDATE suppressions SET id = {ID.format('created_at')} WHERE id IS NULL")
    op.create_index("ix_suppressions_id", "suppressions", ["tenant", "id"])
    op.create_index("ix_suppressions_origin", "suppressions", ["tenant", "origin", "id"])
    op.create_index(
        "ix_suppressions_expires_at",
        "suppressions",
        ["expires_at"],
        postgresql_where=sa.text("expires_at IS NOT NULL"),
    )
    op.create_table_comment(
        "suppressions",
        "Writers: tracker, ingest. Addresses (lower case) that get none of a tenant's mail: the tracker adds what "
        "bounces, ingest what people decide, and takes out. reason: a bounce class, or manual or import. Kept until "
        "expires_at, or until somebody takes it out.",
        existing_comment=BEFORE,
    )
    _unsubscribes()


def _unsubscribes() -> None:
    op.create_table(
        "unsubscribes",
        sa.Column("tenant", sa.Uuid, nullable=False),
        sa.Column("topic", sa.Uuid, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("id", sa.Uuid, nullable=False, server_default=sa.text(ID.format("clock_timestamp()"))),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("source", sa.Uuid),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "topic", "address", name="pk_unsubscribes"),
        sa.CheckConstraint(
            "reason IN ('unsubscribe', 'contact', 'manual', 'import')", name=op.f("ck_unsubscribes_reason")
        ),
        comment=(
            "Writer: ingest. Addresses (lower case) that get no mail about a topic; topic 0: none that goes to a list. "
            "The same stands in contacts.unsubscribed and contact_topics where the address is a contact's. source: the "
            "call or broadcast whose link was followed. Kept until the address wants it again."
        ),
    )
    op.create_index("uq_unsubscribes_id", "unsubscribes", ["tenant", "id"], unique=True)
    op.create_index("ix_unsubscribes_page", "unsubscribes", ["tenant", "topic", "id"])
    op.create_index("ix_unsubscribes_address", "unsubscribes", ["tenant", "address"])


def downgrade() -> None:
    """Drop it; who had unsubscribed gets mail again, unless it is a contact."""
    op.drop_table("unsubscribes")
    for index in ("ix_suppressions_expires_at", "ix_suppressions_origin", "ix_suppressions_id"):
        op.drop_index(index, "suppressions")
    op.drop_column("suppressions", "id")
    op.create_table_comment("suppressions", BEFORE)
