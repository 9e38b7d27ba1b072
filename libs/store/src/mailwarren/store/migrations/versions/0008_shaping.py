"""Limits and suspensions of sites and tenants: who is slowed down, since when, why."""

import sqlalchemy as sa
from alembic import op

revision = "0008_shaping"
down_revision = "0007_trace"
branch_labels = None
depends_on = None
step = "expand"

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "shaping_overrides",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("scope", sa.Text),
        sa.Column("name", sa.Text),
        sa.Column("since", TIME),
        sa.Column("until", TIME),
        sa.Column("suspend", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("connections", sa.Integer),
        sa.Column("rate", sa.Double),
        sa.Column("cause", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("sample", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("ended_at", TIME),
        sa.Column("ended_by", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_shaping_overrides"),
        sa.CheckConstraint("scope IN ('site', 'tenant')", name="scope"),
        comment=(
            "Writer: tracker. Limits and suspensions of sites and tenants, as they stood in the control log. ended_at "
            "and ended_by are of one that was ended before its time; scope, name, since and until are null while only "
            "its end is known."
        ),
    )
    op.create_index("ix_shaping_overrides_until", "shaping_overrides", ["until"])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("shaping_overrides")
