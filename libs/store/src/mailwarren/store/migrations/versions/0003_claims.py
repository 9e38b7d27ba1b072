"""Claims know their question, and whether there is a second copy of the delivery."""

import sqlalchemy as sa
from alembic import op

revision = "0003_claims"
down_revision = "0002_ingest"
branch_labels = None
depends_on = None
step = "expand"


def upgrade() -> None:
    """Add the columns; a tracker of the version before goes on without them."""
    op.add_column("claims", sa.Column("question", sa.Uuid))
    op.add_column("claims", sa.Column("contested", sa.Boolean, nullable=False, server_default=sa.text("false")))


def downgrade() -> None:
    """Drop them."""
    op.drop_column("claims", "contested")
    op.drop_column("claims", "question")
