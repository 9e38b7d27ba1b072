"""Tenants, API keys and idempotency keys: the tables that ingest writes."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0002_ingest"
down_revision = "0001_tracker"
branch_labels = None
depends_on = None
step = "expand"

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create everything."""
    op.create_table(
        "tenants",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tenants"),
        comment="Writer: ingest. Whose mail it is; every other row names its tenant.",
    )
    _api_keys()
    _idempotency_keys()


def downgrade() -> None:
    """Drop everything."""
    for table in ("idempotency_keys", "api_keys", "tenants"):
        op.drop_table(table)


def _api_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("tenant", sa.Uuid, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("permission", sa.Text, nullable=False),
        sa.Column("domains", ARRAY(sa.Text)),
        sa.Column("prefix", sa.Text, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("last_used_at", TIME),
        sa.Column("deleted_at", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("hash", name="uq_api_keys_hash"),
        sa.CheckConstraint("permission IN ('full_access', 'sending_access')", name=op.f("ck_api_keys_permission")),
        comment=(
            "Writer: ingest. API keys; hash is SHA-256 of the token, prefix its first characters. domains null means "
            "that any domain may be sent from."
        ),
    )
    op.create_index("ix_api_keys_updated_at", "api_keys", ["updated_at"])
    op.create_index("ix_api_keys_page", "api_keys", ["tenant", sa.text("created_at DESC"), sa.text("id DESC")])


def _idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("tenant", sa.Uuid, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("base", sa.Uuid, nullable=False),
        sa.Column("owner", sa.Uuid, nullable=False),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("lease_until", TIME, nullable=False),
        sa.Column("answer", sa.LargeBinary),
        sa.Column("status", sa.SmallInteger),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "key", name="pk_idempotency_keys"),
        comment=(
            "Writer: ingest. Calls with an Idempotency-Key, for 24 hours: base is the id that their ids come from, "
            "owner the call that holds the claim until lease_until; answer and its HTTP status are null until one was "
            "given."
        ),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])
