"""What each attempt was sent from."""

import sqlalchemy as sa
from alembic import op

revision = "0020_egress"
down_revision = "0019_webhooks"
branch_labels = None
depends_on = None
step = "expand"


def upgrade() -> None:
    """Add a column to deliveries and events."""
    for table in ("deliveries", "events"):
        op.add_column(table, sa.Column("egress", sa.Text))


def downgrade() -> None:
    """Drop them."""
    for table in ("events", "deliveries"):
        op.drop_column(table, "egress")
