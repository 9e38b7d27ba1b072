"""Partitions of the events are made and dropped by functions of the owner, so that the tracker need not own tables."""

from alembic import op

revision = "0005_partitions"
down_revision = "0004_history"
branch_labels = None
depends_on = None
step = "expand"

LOCK = 0x6D77_7061_7274_6974
"""Advisory lock key ("mwpartit"): one at a time changes partitions."""

# Attaching a finished table lets inserts go on meanwhile, which CREATE TABLE ... PARTITION OF does not.
MAKE = f"""
CREATE FUNCTION make_events_partition(day date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET timezone = 'UTC' AS $body$
DECLARE
  name text := 'events_' || to_char(day, 'YYYYMMDD');
  first timestamptz := day::timestamptz;
  past timestamptz := (day + 1)::timestamptz;
BEGIN
  PERFORM pg_advisory_xact_lock({LOCK});
  IF to_regclass(quote_ident(name)) IS NOT NULL THEN
    RETURN false;
  END IF;
  EXECUTE format('CREATE TABLE %I (LIKE events INCLUDING ALL)', name);
  LOCK TABLE events_default IN ACCESS EXCLUSIVE MODE;
  EXECUTE format(
    'WITH moved AS (DELETE FROM events_default WHERE at >= %L AND at < %L RETURNING *) '
    'INSERT INTO %I SELECT * FROM moved', first, past, name);
  EXECUTE format('ALTER TABLE events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, first, past);
  RETURN true;
END
$body$
"""

DROP = """
CREATE FUNCTION drop_events_partition(day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET timezone = 'UTC' AS $body$
BEGIN
  IF day IS NULL OR day > current_date - 2 THEN
    RAISE EXCEPTION 'the events of % are not old enough to be dropped', day;
  END IF;
  EXECUTE format('DROP TABLE IF EXISTS %I', 'events_' || to_char(day, 'YYYYMMDD'));
END
$body$
"""


def upgrade() -> None:
    """Create the functions; a tracker that owns the tables may go on without them."""
    for name, definition in (("make_events_partition", MAKE), ("drop_events_partition", DROP)):
        op.execute(definition)
        # The path of the function, not of its caller, who could put a table of his own before ours.
        op.execute(
            f"DO $do$ BEGIN EXECUTE format('ALTER FUNCTION {name}(date) SET search_path = %I, pg_temp', "
            "current_schema()); END $do$"
        )
        op.execute(f"REVOKE ALL ON FUNCTION {name}(date) FROM PUBLIC")


def downgrade() -> None:
    """Drop them."""
    op.execute("DROP FUNCTION drop_events_partition(date)")
    op.execute("DROP FUNCTION make_events_partition(date)")
