"""Mailboxes that were full before are found by their address."""

import sqlalchemy as sa
from alembic import op

revision = "0009_quota"
down_revision = "0008_shaping"
branch_labels = None
depends_on = None
step = "expand"


def upgrade() -> None:
    """Create the index; of all deliveries it holds the few that bounced for a full mailbox."""
    op.create_index(
        "ix_deliveries_quota",
        "deliveries",
        ["tenant", sa.text("lower(address)")],
        postgresql_where=sa.text("bounce_class = 'quota' AND state = 'bounced'"),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_index("ix_deliveries_quota", "deliveries")
