"""Sending domains and their DKIM keys."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0016_domains"
down_revision = "0015_broadcasts"
branch_labels = None
depends_on = None
step = "expand"

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "domains",
        sa.Column("tenant", sa.Uuid, nullable=False),
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("region", sa.Text, nullable=False),
        sa.Column("return_path", sa.Text, nullable=False),
        sa.Column("tls", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("findings", JSONB, nullable=False),
        sa.Column("strict", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("returns", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("checked_at", TIME),
        sa.Column("next_check_at", TIME, nullable=False),
        sa.Column("verified_at", TIME),
        sa.Column("failing_since", TIME),
        sa.Column("deleted_at", TIME),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_domains"),
        sa.CheckConstraint("tls IN ('opportunistic', 'enforced')", name=op.f("ck_domains_tls")),
        sa.CheckConstraint(
            "state IN ('not_started', 'pending', 'verified', 'temporary_failure', 'failed')",
            name=op.f("ck_domains_state"),
        ),
        comment=(
            "Writer: ingest. Sending domains (lower case, A-labels), kept until 30 days after their tenant deleted "
            "them. findings is what the DNS was last seen to say; strict: DMARC wants d= to be the very domain of "
            "From; returns: the records of the return path (a name below the domain) are there, so mail may name it "
            "as its sender."
        ),
    )
    op.create_index("ix_domains_updated_at", "domains", ["updated_at"])
    op.create_index(
        "uq_domains_name", "domains", ["tenant", "name"], unique=True, postgresql_where=sa.text("deleted_at IS NULL")
    )
    op.create_index("ix_domains_due", "domains", ["next_check_at"], postgresql_where=sa.text("deleted_at IS NULL"))
    op.create_table(
        "domain_keys",
        sa.Column("tenant", sa.Uuid, nullable=False),
        sa.Column("domain", sa.Uuid, nullable=False),
        sa.Column("selector", sa.Text, nullable=False),
        sa.Column("algorithm", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("public", sa.LargeBinary, nullable=False),
        sa.Column("private", sa.LargeBinary),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("seen_at", TIME),
        sa.Column("retired_at", TIME),
        sa.Column("named_until", TIME),
        sa.PrimaryKeyConstraint("tenant", "domain", "selector", name="pk_domain_keys"),
        sa.ForeignKeyConstraint(
            ["tenant", "domain"], ["domains.tenant", "domains.id"], ondelete="CASCADE",
            name="fk_domain_keys_tenant_domain_domains",
        ),
        sa.CheckConstraint("algorithm IN ('rsa-sha256', 'ed25519-sha256')", name=op.f("ck_domain_keys_algorithm")),
        sa.CheckConstraint("state IN ('next', 'active', 'retired')", name=op.f("ck_domain_keys_state")),
        comment=(
            "Writer: ingest. DKIM keys: private is PKCS #8, encrypted with the first key of MAILWARREN_DATA_KEYS, and "
            "null once the key is retired; its row is deleted at named_until. public is what p= of its record says, "
            "decoded."
        ),
    )  # fmt: skip


def downgrade() -> None:
    """Drop them, and with them the keys."""
    op.drop_table("domain_keys")
    op.drop_table("domains")
