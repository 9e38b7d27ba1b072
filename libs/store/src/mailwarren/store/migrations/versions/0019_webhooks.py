"""Webhooks, what they are told, and two functions with which ingest has something told."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0019_webhooks"
down_revision = "0018_suppressions"
branch_labels = None
depends_on = None
step = "expand"

TIME = sa.DateTime(timezone=True)

# What ingest changes is told in the transaction that changes it; the row is the tracker's (docs/adr/0033).
TELL = """
CREATE FUNCTION tell_webhooks(whose uuid, what text, happened timestamptz, ids uuid[], facts jsonb[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER AS $body$
DECLARE
  told bigint;
BEGIN
  INSERT INTO webhook_deliveries (tenant, endpoint, id, kind, at, data)
  SELECT w.tenant, w.id, f.id, what, happened, f.fact
  FROM unnest(ids, facts) AS f(id, fact)
  JOIN webhooks w ON w.tenant = whose AND w.status = 'enabled' AND what = ANY(w.events)
  LEFT JOIN webhook_health h ON h.tenant = w.tenant AND h.endpoint = w.id
  WHERE f.fact IS NOT NULL AND (h.disabled_at IS NULL OR h.disabled_at < w.enabled_at);
  GET DIAGNOSTICS told = ROW_COUNT;
  RETURN told;
END
$body$
"""
REPLAY = """
CREATE FUNCTION replay_webhook(whose uuid, which uuid, event uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER AS $body$
BEGIN
  UPDATE webhook_deliveries
  SET state = 'pending', attempts = 0, due_at = now(), claim = NULL, created_at = now(), ended_at = NULL
  WHERE tenant = whose AND endpoint = which AND id = event;
  RETURN FOUND;
END
$body$
"""
FUNCTIONS = {
    "tell_webhooks(uuid, text, timestamptz, uuid[], jsonb[])": TELL,
    "replay_webhook(uuid, uuid, uuid)": REPLAY,
}


def upgrade() -> None:
    """Create everything."""
    _webhooks()
    _deliveries()
    _attempts_and_health()
    for name, definition in FUNCTIONS.items():
        op.execute(definition)
        # The path of the function, not of its caller, who could put a table of his own before ours.
        op.execute(
            f"DO $do$ BEGIN EXECUTE format('ALTER FUNCTION {name} SET search_path = %I, pg_temp',"
            " current_schema()); END $do$"
        )
        op.execute(f"REVOKE ALL ON FUNCTION {name} FROM PUBLIC")


def _webhooks() -> None:
    op.create_table(
        "webhooks",
        sa.Column("tenant", sa.Uuid, nullable=False),
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("events", ARRAY(sa.Text), nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        sa.Column("previous_secret", sa.LargeBinary),
        sa.Column("previous_until", TIME),
        sa.Column("enabled_at", TIME, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_webhooks"),
        sa.CheckConstraint("status IN ('enabled', 'disabled')", name=op.f("ck_webhooks_status")),
        comment=(
            "Writer: ingest. Addresses that are told of events, kept until their tenant deletes them. The secrets are "
            "encrypted (MAILWARREN_DATA_KEYS); previous_secret signs too until previous_until. One that the tracker "
            "gave up has a webhook_health.disabled_at after enabled_at."
        ),
    )


def _deliveries() -> None:
    op.create_table(
        "webhook_deliveries",
        sa.Column("tenant", sa.Uuid, nullable=False),
        sa.Column("endpoint", sa.Uuid, nullable=False),
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("data", JSONB, nullable=False),
        sa.Column("email_id", sa.Uuid),
        sa.Column("state", sa.Text, nullable=False, server_default=sa.text("'pending'")),
        sa.Column("attempts", sa.SmallInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("due_at", TIME, server_default=sa.text("now()")),
        sa.Column("claim", sa.Uuid),
        sa.Column("created_at", TIME, nullable=False, server_default=sa.text("now()")),
        sa.Column("ended_at", TIME),
        sa.PrimaryKeyConstraint("tenant", "endpoint", "id", name="pk_webhook_deliveries"),
        sa.CheckConstraint(
            "state IN ('pending', 'attempting', 'success', 'failed')", name=op.f("ck_webhook_deliveries_state")
        ),
        comment=(
            "Writer: tracker. What an endpoint (webhooks.id) is to be told, written in the transaction that records "
            "it: kind happened at that time, data and the email say what it is about. It is tried at due_at, null at "
            "its end. claim: of the process that tries it, which is lost at due_at. Kept for MAILWARREN_WEBHOOKS_DAYS."
        ),
    )
    op.create_index(
        "ix_webhook_deliveries_due",
        "webhook_deliveries",
        ["tenant", "endpoint", "due_at", "id"],
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index("ix_webhook_deliveries_created_at", "webhook_deliveries", ["created_at"])


def _attempts_and_health() -> None:
    op.create_table(
        "webhook_attempts",
        sa.Column("tenant", sa.Uuid, nullable=False),
        sa.Column("endpoint", sa.Uuid, nullable=False),
        sa.Column("event", sa.Uuid, nullable=False),
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("sent_at", TIME, nullable=False),
        sa.Column("status", sa.SmallInteger, nullable=False),
        sa.Column("response", sa.Text, nullable=False),
        sa.Column("duration", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "endpoint", "event", "id", name="pk_webhook_attempts"),
        comment=(
            "Writer: tracker. Tries of a row of webhook_deliveries (event is its id), and gone with it. status is "
            "HTTP's, 0 when there was no answer; response begins the answer, or says why there was none."
        ),
    )
    op.create_table(
        "webhook_health",
        sa.Column("tenant", sa.Uuid, nullable=False),
        sa.Column("endpoint", sa.Uuid, nullable=False),
        sa.Column("failing_since", TIME),
        sa.Column("last_success_at", TIME),
        sa.Column("last_failure_at", TIME),
        sa.Column("disabled_at", TIME),
        sa.Column("reason", sa.Text),
        sa.PrimaryKeyConstraint("tenant", "endpoint", name="pk_webhook_health"),
        comment=(
            "Writer: tracker. How an endpoint (webhooks.id) does, gone some time after it: failing_since is null after "
            "a success. disabled_at and reason: when and why it was given up last."
        ),
    )


def downgrade() -> None:
    """Drop everything, and what waits to be told."""
    for name in FUNCTIONS:
        op.execute(f"DROP FUNCTION {name}")
    for table in ("webhook_health", "webhook_attempts", "webhook_deliveries", "webhooks"):
        op.drop_table(table)
