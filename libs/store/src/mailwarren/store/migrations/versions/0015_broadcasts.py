"""Broadcasts, and which delivery is a part of which."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0015_broadcasts"
down_revision = "0011_imports"
branch_labels = None
depends_on = None
step = "expand"

TIME = sa.DateTime(timezone=True)
DELIVERIES = (
    "Writer: tracker. One address of an email: the unit of the ledger. attempt, started and parked are the highest "
    "attempts that had an outcome, wrote mail data, and were parked. accepted_at, role, shard and partition are null "
    "until the acceptance is seen."
)


def upgrade() -> None:
    """Create the table, and a column that is null for all deliveries that there are."""
    op.create_table(
        "broadcasts",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("tenant", sa.Uuid, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("segment", sa.Uuid, nullable=False),
        sa.Column("topic", sa.Uuid),
        sa.Column("lane", sa.Text, nullable=False),
        sa.Column("sender", sa.Text),
        sa.Column("subject", sa.Text),
        sa.Column("reply_to", ARRAY(sa.Text), nullable=False),
        sa.Column("preview_text", sa.Text, nullable=False),
        sa.Column("html", sa.Text),
        sa.Column("text", sa.Text),
        sa.Column("template", JSONB),
        sa.Column("resend_of", sa.Uuid),
        sa.Column("resend_states", ARRAY(sa.Text)),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("due_at", TIME),
        sa.Column("started_at", TIME),
        sa.Column("ended_at", TIME),
        sa.Column("mail", sa.LargeBinary),
        sa.Column("cursor", sa.Uuid),
        sa.Column("upto", sa.Uuid),
        sa.Column("published", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("audience", JSONB),
        sa.Column("owner", sa.Uuid),
        sa.Column("lease_until", TIME),
        sa.Column("order_at", TIME),
        sa.Column("orders", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("trouble", sa.Text),
        sa.Column("told_at", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_broadcasts"),
        sa.CheckConstraint(
            "state IN ('draft', 'scheduled', 'held', 'queued', 'sending', 'paused', 'sent', 'canceled', 'failed')",
            name=op.f("ck_broadcasts_state"),
        ),
        sa.CheckConstraint("lane IN ('high', 'normal', 'bulk')", name=op.f("ck_broadcasts_lane")),
        comment=(
            "Writer: ingest. Kept until somebody deletes it, once sent or canceled as long as its emails. mail is what "
            "is sent, from the moment of send on. Contacts up to cursor are published, those up to upto may be. owner "
            "expands it until lease_until; the scheduler orders a worker at order_at. audience: the segment as it was "
            "at the start. told_at: when the senders heard of the cancel."
        ),
    )
    _indexes()
    op.add_column("deliveries", sa.Column("broadcast", sa.Uuid))
    op.create_table_comment("deliveries", f"{DELIVERIES} broadcast: which one it is a part of.")
    op.create_index(
        "ix_deliveries_broadcast",
        "deliveries",
        ["tenant", "broadcast", "id"],
        postgresql_include=["state"],
        postgresql_where=sa.text("broadcast IS NOT NULL"),
    )


def _indexes() -> None:
    op.create_index("ix_broadcasts_page", "broadcasts", ["tenant", "id"])
    op.create_index("ix_broadcasts_segment", "broadcasts", ["tenant", "segment"])
    op.create_index(
        "ix_broadcasts_open",
        "broadcasts",
        ["state", "order_at"],
        postgresql_where=sa.text("state IN ('scheduled', 'queued', 'sending')"),
    )
    op.create_index(
        "ix_broadcasts_untold",
        "broadcasts",
        ["ended_at"],
        postgresql_where=sa.text("state = 'canceled' AND told_at IS NULL"),
    )
    op.create_index(
        "uq_broadcasts_resend_of",
        "broadcasts",
        ["tenant", "resend_of"],
        unique=True,
        postgresql_where=sa.text("resend_of IS NOT NULL"),
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_deliveries_broadcast", "deliveries")
    op.create_table_comment("deliveries", DELIVERIES)
    op.drop_column("deliveries", "broadcast")
    op.drop_table("broadcasts")
