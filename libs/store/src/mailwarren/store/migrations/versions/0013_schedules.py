"""Emails that are to be sent later."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0013_schedules"
down_revision = "0012_templates"
branch_labels = None
depends_on = None
step = "expand"

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "scheduled_contents",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("tenant", sa.Uuid, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_scheduled_contents"),
        comment=(
            "Writer: ingest. html and text of scheduled emails, once for all rows of a bulk call; forgotten when no"
            " row of scheduled names it."
        ),
    )
    op.create_index("ix_scheduled_contents_created_at", "scheduled_contents", ["created_at"])
    op.create_table(
        "scheduled",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("tenant", sa.Uuid, nullable=False),
        sa.Column("base", sa.Uuid, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("lane", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("due_at", TIME, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("mail", sa.LargeBinary),
        sa.Column("content", sa.Uuid),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("attempts", sa.SmallInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("owner", sa.Uuid),
        sa.Column("lease_until", TIME),
        sa.Column("held_at", TIME),
        sa.Column("ended_at", TIME),
        sa.Column("history", JSONB, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_scheduled"),
        sa.CheckConstraint("lane IN ('high', 'normal', 'bulk')", name=op.f("ck_scheduled_lane")),
        sa.CheckConstraint("state IN ('scheduled', 'held', 'released', 'canceled')", name=op.f("ck_scheduled_state")),
        comment=(
            "Writer: ingest. Emails to be sent at due_at, by the id that they will have in the ledger. base and "
            "position: the call and the place in it. owner releases it until lease_until; with attempts above 0 it may "
            "be in the broker. mail is all but content (size bytes); both are null some days after the release."
        ),
    )
    _indexes()


def _indexes() -> None:
    op.create_index(
        "ix_scheduled_due",
        "scheduled",
        ["lane", "due_at", "base", "position"],
        postgresql_where=sa.text("state = 'scheduled'"),
    )
    op.create_index(
        "ix_scheduled_open",
        "scheduled",
        ["tenant", "due_at", "id"],
        postgresql_where=sa.text("state IN ('scheduled', 'held')"),
    )
    op.create_index(
        "ix_scheduled_page",
        "scheduled",
        ["tenant", sa.text("created_at DESC"), sa.text("id DESC")],
        postgresql_where=sa.text("state <> 'released'"),
    )
    op.create_index("ix_scheduled_content", "scheduled", ["content"], postgresql_where=sa.text("content IS NOT NULL"))
    op.create_index(
        "ix_scheduled_ended_at", "scheduled", ["ended_at"], postgresql_where=sa.text("ended_at IS NOT NULL")
    )


def downgrade() -> None:
    """Drop them, and what waits in them."""
    op.drop_table("scheduled")
    op.drop_table("scheduled_contents")
