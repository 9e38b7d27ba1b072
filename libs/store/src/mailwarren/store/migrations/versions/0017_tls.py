"""TLS of each attempt, and its negotiations by day."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0017_tls"
down_revision = "0016_domains"
branch_labels = None
depends_on = None
step = "expand"


def upgrade() -> None:
    """Add two columns to deliveries and events, and create the table."""
    for table in ("deliveries", "events"):
        op.add_column(table, sa.Column("tls", sa.Text))
        op.add_column(table, sa.Column("tls_policy", sa.Text))
    op.create_table(
        "tls_results",
        sa.Column("tenant", sa.Uuid, nullable=False),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("domain", sa.Text, nullable=False),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("result", sa.Text, nullable=False),
        sa.Column("mx", sa.Text, nullable=False),
        sa.Column("ip", sa.Text, nullable=False),
        sa.Column("sessions", sa.BigInteger, nullable=False),
        sa.Column("detail", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("policy_string", ARRAY(sa.Text), nullable=False, server_default=sa.text("'{}'")),
        sa.Column("mx_host", ARRAY(sa.Text), nullable=False, server_default=sa.text("'{}'")),
        sa.PrimaryKeyConstraint("tenant", "day", "domain", "policy", "result", "mx", "ip", name="pk_tls_results"),
        sa.CheckConstraint("policy IN ('tlsa', 'sts', 'no-policy-found')", name=op.f("ck_tls_results_policy")),
        comment=(
            "Writer: tracker. Negotiations of TLS by UTC day, policy domain and result (RFC 8460; empty: it went well),"
            " for the mail of a tenant. Kept as long as events."
        ),
    )
    op.create_index("ix_tls_results_day", "tls_results", ["day", "tenant"])


def downgrade() -> None:
    """Drop them."""
    op.drop_table("tls_results")
    for table in ("events", "deliveries"):
        op.drop_column(table, "tls_policy")
        op.drop_column(table, "tls")
