"""The schema's history, by which code of another version can tell whether it can work with the schema."""

import sqlalchemy as sa
from alembic import op

revision = "0004_history"
down_revision = "0003_claims"
branch_labels = None
depends_on = None
step = "expand"

EARLIER = ("0001_tracker", "0002_ingest", "0003_claims")


def upgrade() -> None:
    """Create the table, with the steps that were made before there was one."""
    op.create_table(
        "schema_history",
        sa.Column("revision", sa.Text, nullable=False),
        sa.Column("step", sa.Text, nullable=False),
        sa.Column("serves", sa.Text),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("revision", name="pk_schema_history"),
        sa.CheckConstraint("step IN ('expand', 'contract')", name=op.f("ck_schema_history_step")),
        sa.CheckConstraint("(step = 'contract') = (serves IS NOT NULL)", name=op.f("ck_schema_history_serves")),
        comment=(
            "Writer: mailwarren migrate. The migrations that were applied. One that contracts names the oldest "
            "revision whose code it serves; code that does not know that revision is too old for this schema."
        ),
    )
    rows = ", ".join(f"('{earlier}', 'expand', clock_timestamp())" for earlier in EARLIER)
    op.execute(f"INSERT INTO schema_history (revision, step, applied_at) VALUES {rows}")


def downgrade() -> None:
    """Drop it."""
    op.drop_table("schema_history")
