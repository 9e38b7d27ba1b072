"""The ledger: the tables that the tracker writes."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0001_tracker"
down_revision = None
branch_labels = None
depends_on = None
step = "expand"

LANES = "lane IN ('high', 'normal', 'bulk')"
KINDS = (
    "'started', 'deferred', 'delivered', 'bounced', 'failed', 'expired', 'canceled', 'suppressed', 'held', 'parked', "
    "'unconfirmed'"
)
STATES = (
    "'accepted', 'deferred', 'delivered', 'bounced', 'failed', 'expired', 'canceled', 'suppressed', 'held', 'parked', "
    "'unconfirmed'"
)
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create everything."""
    _emails()
    _deliveries()
    _events()
    _others()


def downgrade() -> None:
    """Drop everything."""
    for table in (
        "stats_minute", "suppressions", "claims", "events", "deliveries", "cancels", "emails", "contents",
    ):  # fmt: skip
        op.drop_table(table)


def _emails() -> None:
    op.create_table(
        "contents",
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("tenant", sa.Uuid, nullable=False),
        sa.Column("sender", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("html", sa.Text),
        sa.Column("text", sa.Text),
        sa.Column("headers", JSONB, nullable=False),
        sa.Column("syntax", sa.Text, nullable=False),
        sa.Column("first_seen", TIME, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_contents"),
        sa.CheckConstraint("syntax IN ('literal', 'template')", name=op.f("ck_contents_syntax")),
        comment="Writer: tracker. What mails say, once per tenant and SHA-256 digest.",
    )
    op.create_table(
        "emails",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("tenant", sa.Uuid, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("request_id", sa.Uuid),
        sa.Column("lane", sa.Text, nullable=False),
        sa.Column("partition", sa.SmallInteger, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("sender", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("to", ARRAY(sa.Text), nullable=False),
        sa.Column("cc", ARRAY(sa.Text), nullable=False),
        sa.Column("bcc", ARRAY(sa.Text), nullable=False),
        sa.Column("reply_to", ARRAY(sa.Text), nullable=False),
        sa.Column("tags", JSONB, nullable=False),
        sa.Column("metadata", JSONB, nullable=False),
        sa.Column("variables", JSONB),
        sa.Column("message_id", sa.Text, nullable=False),
        sa.Column("expires_at", TIME),
        sa.Column("on_unknown", sa.Text, nullable=False),
        sa.Column("cancel_requested_at", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_emails"),
        sa.CheckConstraint(LANES, name=op.f("ck_emails_lane")),
        sa.CheckConstraint("on_unknown IN ('resend', 'hold', 'fail')", name=op.f("ck_emails_on_unknown")),
        comment="Writer: tracker. What one API call asked to send; content is the digest of its row in contents.",
    )
    op.create_index("ix_emails_page", "emails", ["tenant", sa.text("created_at DESC"), sa.text("id DESC")])
    op.create_table(
        "cancels",
        sa.Column("email_id", sa.Uuid, nullable=False),
        sa.Column("tenant", sa.Uuid, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("email_id", name="pk_cancels"),
        comment="Writer: tracker. Cancels that overtook the acceptance of their email, which takes them over.",
    )


def _reply() -> list[sa.Column[Any]]:
    return [
        sa.Column("reply_code", sa.SmallInteger),
        sa.Column("reply_enhanced", sa.Text),
        sa.Column("reply_text", sa.Text),
        sa.Column("reply_command", sa.Text),
        sa.Column("trouble", sa.Text),
        sa.Column("bounce_class", sa.Text),
        sa.Column("site", sa.Text),
        sa.Column("host", sa.Text),
    ]


def _deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("email_id", sa.Uuid, nullable=False),
        sa.Column("tenant", sa.Uuid, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("role", sa.Text),
        sa.Column("lane", sa.Text, nullable=False),
        sa.Column("shard", sa.Text),
        sa.Column("partition", sa.SmallInteger),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("started", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("parked", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("accepted_at", TIME),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("ended_at", TIME),
        sa.Column("next_attempt_at", TIME),
        *_reply(),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sa.CheckConstraint("role IN ('to', 'cc', 'bcc')", name=op.f("ck_deliveries_role")),
        sa.CheckConstraint(LANES, name=op.f("ck_deliveries_lane")),
        sa.CheckConstraint(f"state IN ({STATES})", name=op.f("ck_deliveries_state")),
        comment=(
            "Writer: tracker. One address of an email: the unit of the ledger. attempt, started and parked are the "
            "highest attempts that had an outcome, wrote mail data, and were parked. accepted_at, role, shard and "
            "partition are null until the acceptance is seen."
        ),
    )
    op.create_index("ix_deliveries_email_id", "deliveries", ["email_id"])
    op.create_index(
        "ix_deliveries_open",
        "deliveries",
        ["lane", "state", "accepted_at"],
        postgresql_where=sa.text("ended_at IS NULL"),
    )


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("at", TIME, nullable=False),
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("delivery_id", sa.Uuid, nullable=False),
        sa.Column("email_id", sa.Uuid, nullable=False),
        sa.Column("tenant", sa.Uuid, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        *_reply(),
        sa.Column("duration", sa.Double),
        sa.Column("reason", sa.Text),
        sa.Column("next_attempt_at", TIME),
        sa.PrimaryKeyConstraint("at", "id", name="pk_events"),
        sa.CheckConstraint(f"kind IN ({KINDS})", name=op.f("ck_events_kind")),
        comment=(
            "Writer: tracker. What happened to deliveries, one partition a day (events_YYYYMMDD) and events_default."
        ),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_index("ix_events_email_id", "events", ["email_id"])
    op.execute("CREATE TABLE events_default PARTITION OF events DEFAULT")


def _others() -> None:
    op.create_table(
        "claims",
        sa.Column("delivery_id", sa.Uuid, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("asker", sa.Uuid, nullable=False),
        sa.Column("turn", sa.Integer, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("delivery_id", "attempt", name="pk_claims"),
        comment="Writer: tracker. Which sender may make an attempt that was made before or may have been (settle).",
    )
    op.create_index("ix_claims_at", "claims", ["at"])
    op.create_table(
        "suppressions",
        sa.Column("tenant", sa.Uuid, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("email_id", sa.Uuid),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME),
        sa.PrimaryKeyConstraint("tenant", "address", name="pk_suppressions"),
        sa.CheckConstraint("origin IN ('bounce', 'complaint', 'manual')", name=op.f("ck_suppressions_origin")),
        comment="Writer: tracker. Addresses (lower case) that get none of a tenant's mail; reason is a bounce class.",
    )
    op.create_table(
        "stats_minute",
        sa.Column("tenant", sa.Uuid, nullable=False),
        sa.Column("minute", TIME, nullable=False),
        sa.Column("lane", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "minute", "lane", "kind", name="pk_stats_minute"),
        sa.CheckConstraint(LANES, name=op.f("ck_stats_minute_lane")),
        sa.CheckConstraint(f"kind IN ('accepted', {KINDS})", name=op.f("ck_stats_minute_kind")),
        comment="Writer: tracker. Acceptances and events per minute in which they happened, each counted once.",
    )
