"""Counters of what became of mail, the breaker of each tenant, and calls of the API."""

import sqlalchemy as sa
from alembic import op

revision = "0022_metrics"
down_revision = "0021_tracking"
branch_labels = None
depends_on = None
step = "expand"

TIME = sa.DateTime(timezone=True)
NO_BROADCAST = "00000000-0000-0000-0000-000000000000"
COUNTERS = (
    "received", "sent", "delivered", "delivery_delayed", "bounced_permanent", "bounced_transient",
    "bounced_undetermined", "failed", "suppressed", "complained", "opened", "unique_opened", "clicked",
    "unique_clicked",
)  # fmt: skip

FORGET = """
CREATE FUNCTION forget_metrics(before timestamptz, at_most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER AS $body$
DECLARE
  gone bigint;
BEGIN
  IF before IS NULL OR at_most IS NULL OR before > now() - interval '3 days' THEN
    RAISE EXCEPTION 'what is younger than % may not be forgotten', now() - interval '3 days';
  END IF;
  DELETE FROM email_metrics WHERE ctid = ANY(ARRAY(
    SELECT m.ctid FROM email_metrics m WHERE m.quarter < before LIMIT at_most FOR UPDATE SKIP LOCKED
  ));
  GET DIAGNOSTICS gone = ROW_COUNT;
  RETURN gone;
END
$body$
"""
DELIVERIES = (
    "Writer: tracker. One address of an email: the unit of the ledger. attempt, started and parked are the highest "
    "attempts that had an outcome, wrote mail data, and were parked. accepted_at, role, shard and partition are "
    "null until the acceptance is seen. broadcast: which one it is a part of. opens and clicks are those that "
    "count as its reader's, opened_at and clicked_at the first."
)
COUNTED = (
    " sender_domain: of the From address; it is counted in email_metrics from then on. deferred_at: the first deferral."
)
OVERRIDES = (
    "Writer: tracker. Limits and suspensions of sites and tenants, as they stood in the control log. ended_at and "
    "ended_by are of one that was ended before its time; scope, name, since and until are null while only its end "
    "is known."
)
OF_A_LANE = " lane: the one that a tenant's suspension is about, null for all."


def upgrade() -> None:
    """Add columns that a tracker of the release before leaves empty, and create the tables."""
    op.add_column("deliveries", sa.Column("sender_domain", sa.Text))
    op.add_column("deliveries", sa.Column("deferred_at", TIME))
    op.create_table_comment("deliveries", DELIVERIES + COUNTED, existing_comment=DELIVERIES)
    # With its check in one: no older code fills the column, so nothing is added that it could break.
    op.execute(
        "ALTER TABLE shaping_overrides ADD COLUMN lane text CONSTRAINT ck_shaping_overrides_lane "
        "CHECK (lane IN ('high', 'normal', 'bulk'))"
    )
    op.create_table_comment("shaping_overrides", OVERRIDES + OF_A_LANE, existing_comment=OVERRIDES)
    _metrics()
    _breakers()
    _logs()


def downgrade() -> None:
    """Drop everything."""
    op.drop_table("api_logs")
    op.drop_table("breakers")
    op.execute("DROP FUNCTION forget_metrics(timestamptz, integer)")
    op.drop_table("email_metrics")
    op.create_table_comment("shaping_overrides", OVERRIDES, existing_comment=OVERRIDES + OF_A_LANE)
    op.drop_column("shaping_overrides", "lane")
    op.create_table_comment("deliveries", DELIVERIES, existing_comment=DELIVERIES + COUNTED)
    op.drop_column("deliveries", "deferred_at")
    op.drop_column("deliveries", "sender_domain")


def _metrics() -> None:
    op.create_table(
        "email_metrics",
        sa.Column("tenant", sa.Uuid, nullable=False),
        sa.Column("quarter", TIME, nullable=False),
        sa.Column("domain", sa.Text, nullable=False),
        sa.Column("broadcast", sa.Uuid, nullable=False, server_default=sa.text(f"'{NO_BROADCAST}'")),
        *(sa.Column(name, sa.BigInteger, nullable=False, server_default=sa.text("0")) for name in COUNTERS),
        sa.PrimaryKeyConstraint("tenant", "quarter", "domain", "broadcast", name="pk_email_metrics"),
        comment=(
            "Writer: tracker. What became of deliveries, by the quarter of an hour in which it happened, the domain of "
            "their sender, and their broadcast (zeros: none). Written in the transaction that changes the deliveries. "
            "Kept as long as counts per minute."
        ),
        postgresql_with={"fillfactor": "50"},
    )
    op.create_index("ix_email_metrics_quarter", "email_metrics", ["quarter", "tenant"])
    op.execute(FORGET)
    # The path of the function, not of its caller, who could put a table of his own before ours.
    op.execute(
        "DO $do$ BEGIN EXECUTE format('ALTER FUNCTION forget_metrics(timestamptz, integer) SET search_path = %I, "
        "pg_temp', current_schema()); END $do$"
    )
    op.execute("REVOKE ALL ON FUNCTION forget_metrics(timestamptz, integer) FROM PUBLIC")


def _breakers() -> None:
    op.create_table(
        "breakers",
        sa.Column("tenant", sa.Uuid, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("since", TIME, nullable=False),
        sa.Column("decided", sa.BigInteger, nullable=False),
        sa.Column("bounced", sa.BigInteger, nullable=False),
        sa.Column("complained", sa.BigInteger, nullable=False),
        sa.Column("counted_from", TIME),
        sa.Column("override", sa.Uuid),
        sa.Column("told_until", TIME),
        sa.Column("ended_at", TIME),
        sa.Column("ended_by", sa.Text),
        sa.PrimaryKeyConstraint("tenant", name="pk_breakers"),
        sa.CheckConstraint("state IN ('fine', 'warned', 'paused')", name=op.f("ck_breakers_state")),
        comment=(
            "Writer: tracker. Tenants of whose mail too much bounced or drew complaints, with the counts that said so: "
            "one row each, for ever. override: the entry of the control log that holds their bulk mail, until "
            "told_until unless it is told again. ended_at, ended_by: the last pause. counted_from: what came before it "
            "counts no more."
        ),
    )


def _logs() -> None:
    op.create_table(
        "api_logs",
        sa.Column("tenant", sa.Uuid, nullable=False),
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("api_key", sa.Uuid, nullable=False),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("status", sa.SmallInteger, nullable=False),
        sa.Column("user_agent", sa.Text, nullable=False),
        sa.Column("request_body", sa.Text),
        sa.Column("response_body", sa.Text),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_api_logs"),
        comment=(
            "Writer: ingest. Calls of the API, for MAILWARREN_API_LOGS_DAYS: bodies as JSON, without secrets, contents "
            "and names of mailboxes. A call that came while too many waited to be written has no row, and is counted."
        ),
    )
    op.create_index("ix_api_logs_created_at", "api_logs", ["created_at"])
