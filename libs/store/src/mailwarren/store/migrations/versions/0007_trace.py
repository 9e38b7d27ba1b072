"""An email knows the trace of the call that asked for it."""

import sqlalchemy as sa
from alembic import op

revision = "0007_trace"
down_revision = "0006_ops"
branch_labels = None
depends_on = None
step = "expand"


def upgrade() -> None:
    """Add the column, which rewrites no row; a tracker of the version before leaves it empty."""
    op.add_column("emails", sa.Column("trace_id", sa.Uuid))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("emails", "trace_id")
