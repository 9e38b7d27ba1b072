"""Periodic jobs, and functions with which ingest's worker deletes what the tracker wrote and nobody needs any more."""

import sqlalchemy as sa
from alembic import op

revision = "0006_ops"
down_revision = "0005_partitions"
branch_labels = None
depends_on = None
step = "expand"

TIME = sa.DateTime(timezone=True)

GUARD = """
  IF before IS NULL OR at_most IS NULL OR before > now() - interval '3 days' THEN
    RAISE EXCEPTION 'what is younger than % may not be forgotten', now() - interval '3 days';
  END IF;
"""
"""No mail lives longer than 48 h, and an Idempotency-Key 24 h."""

EMAILS = f"""
CREATE FUNCTION forget_emails(before timestamptz, at_most integer)
RETURNS TABLE (gone_emails bigint, gone_deliveries bigint) LANGUAGE plpgsql SECURITY DEFINER AS $body$
DECLARE
  old uuid[] := '{{}}';
  found uuid[];
  who uuid;
BEGIN
  {GUARD}
  FOR who IN SELECT t.id FROM tenants t LOOP
    SELECT coalesce(array_agg(o.id), '{{}}') INTO found FROM (
      SELECT e.id FROM emails e
      WHERE e.tenant = who AND e.created_at < before AND NOT EXISTS (
        SELECT FROM deliveries d WHERE d.email_id = e.id AND (d.ended_at IS NULL OR d.ended_at >= before))
      ORDER BY e.created_at, e.id LIMIT at_most - cardinality(old) FOR UPDATE SKIP LOCKED
    ) o;
    old := old || found;
    EXIT WHEN cardinality(old) >= at_most;
  END LOOP;
  DELETE FROM deliveries d WHERE d.email_id = ANY(old);
  GET DIAGNOSTICS gone_deliveries = ROW_COUNT;
  DELETE FROM emails e WHERE e.id = ANY(old);
  GET DIAGNOSTICS gone_emails = ROW_COUNT;
  RETURN NEXT;
END
$body$
"""

# An email that was recorded a day after `before` or later has refreshed last_seen; the older ones are looked at.
CONTENTS = f"""
CREATE FUNCTION forget_contents(before timestamptz, at_most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER AS $body$
DECLARE
  gone bigint;
BEGIN
  {GUARD}
  DELETE FROM contents WHERE digest = ANY(ARRAY(
    SELECT c.digest FROM contents c
    WHERE c.last_seen < before AND NOT EXISTS (
      SELECT FROM emails e
      WHERE e.tenant = c.tenant AND e.created_at < before + interval '1 day' AND e.content = c.digest)
    LIMIT at_most FOR UPDATE SKIP LOCKED
  ));
  GET DIAGNOSTICS gone = ROW_COUNT;
  RETURN gone;
END
$body$
"""

STATS = f"""
CREATE FUNCTION forget_stats(before timestamptz, at_most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER AS $body$
DECLARE
  gone bigint;
BEGIN
  {GUARD}
  DELETE FROM stats_minute WHERE ctid = ANY(ARRAY(
    SELECT s.ctid FROM stats_minute s WHERE s.minute < before LIMIT at_most FOR UPDATE SKIP LOCKED
  ));
  GET DIAGNOSTICS gone = ROW_COUNT;
  RETURN gone;
END
$body$
"""

FUNCTIONS = {"forget_emails": EMAILS, "forget_contents": CONTENTS, "forget_stats": STATS}


def upgrade() -> None:
    """Create everything; a tracker of the version before fills the new column with its default."""
    op.create_table(
        "periodic_jobs",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("every", sa.Double, nullable=False),
        sa.Column("next_run_at", TIME, nullable=False),
        sa.Column("run_id", sa.Uuid),
        sa.Column("due_at", TIME),
        sa.Column("released_at", TIME),
        sa.Column("started_at", TIME),
        sa.Column("ended_at", TIME),
        sa.Column("attempt", sa.SmallInteger),
        sa.Column("result", sa.Text),
        sa.Column("trouble", sa.Text),
        sa.Column("runs", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.PrimaryKeyConstraint("name", name="pk_periodic_jobs"),
        comment=(
            "Writer: ingest. Work that comes again every so many seconds. The scheduler releases what is due (run_id, "
            "due_at, released_at) and a worker notes what came of it: result, or trouble when the last try failed."
        ),
    )
    op.add_column("contents", sa.Column("last_seen", TIME, nullable=False, server_default=sa.text("now()")))
    op.create_index("ix_contents_last_seen", "contents", ["last_seen"], postgresql_using="brin")
    op.execute(
        "COMMENT ON TABLE contents IS 'Writer: tracker. What mails say, once per tenant and SHA-256 digest. No email "
        "that refers to it was recorded more than a day after last_seen.'"
    )
    for name, definition in FUNCTIONS.items():
        op.execute(definition)
        # The path of the function, not of its caller, who could put a table of his own before ours.
        op.execute(
            f"DO $do$ BEGIN EXECUTE format('ALTER FUNCTION {name}(timestamptz, integer) SET search_path = %I, pg_temp',"
            " current_schema()); END $do$"
        )
        op.execute(f"REVOKE ALL ON FUNCTION {name}(timestamptz, integer) FROM PUBLIC")


def downgrade() -> None:
    """Drop everything."""
    for name in reversed(FUNCTIONS):
        op.execute(f"DROP FUNCTION {name}(timestamptz, integer)")
    op.drop_index("ix_contents_last_seen", "contents")
    op.drop_column("contents", "last_seen")
    op.execute("COMMENT ON TABLE contents IS 'Writer: tracker. What mails say, once per tenant and SHA-256 digest.'")
    op.drop_table("periodic_jobs")
