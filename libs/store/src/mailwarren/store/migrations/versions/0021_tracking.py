"""Opens and clicks of mail, and what sending domains say of them."""

import sqlalchemy as sa
from alembic import op

revision = "0021_tracking"
down_revision = "0020_egress"
branch_labels = None
depends_on = None
step = "expand"

TIME = sa.DateTime(timezone=True)
KINDS = (
    "'started', 'deferred', 'delivered', 'bounced', 'failed', 'expired', 'canceled', 'suppressed', 'held', 'parked', "
    "'unconfirmed'"
)
HITS = "'opened', 'clicked'"
COUNTS = f"{HITS}, 'unique_opened', 'unique_clicked', 'automated'"
FLAGS = "'proxy', 'prefetch', 'bot', 'odd', 'quick'"
DELIVERIES = (
    "Writer: tracker. One address of an email: the unit of the ledger. attempt, started and parked are the highest "
    "attempts that had an outcome, wrote mail data, and were parked. accepted_at, role, shard and partition are "
    "null until the acceptance is seen. broadcast: which one it is a part of."
)
DOMAINS = (
    "Writer: ingest. Sending domains (lower case, A-labels), kept until 30 days after their tenant deleted "
    "them. findings is what the DNS was last seen to say; strict: DMARC wants d= to be the very domain of From; "
    "returns: the records of the return path (a name below the domain) are there, so mail may name it as its "
    "sender."
)


def upgrade() -> None:
    """Add columns, and words to the kinds."""
    for name in ("opens", "clicks"):
        op.add_column("deliveries", sa.Column(name, sa.Integer, nullable=False, server_default=sa.text("0")))
    for name in ("opened_at", "clicked_at"):
        op.add_column("deliveries", sa.Column(name, TIME))
    op.create_table_comment(
        "deliveries",
        f"{DELIVERIES} opens and clicks are those that count as its reader's, opened_at and clicked_at the first.",
        existing_comment=DELIVERIES,
    )
    for name in ("link", "agent", "flag", "ip"):
        op.add_column("events", sa.Column(name, sa.Text))
    _check("events", "kind", f"{KINDS}, {HITS}")
    _check("events", "flag", FLAGS)
    _check("stats_minute", "kind", f"'accepted', {KINDS}, {COUNTS}")
    for name in ("open_tracking", "click_tracking", "tracks"):
        op.add_column("domains", sa.Column(name, sa.Boolean, nullable=False, server_default=sa.text("false")))
    op.add_column("domains", sa.Column("tracking_subdomain", sa.Text))
    op.create_table_comment(
        "domains",
        f"{DOMAINS} tracks: the record of the tracking host (tracking_subdomain below the domain) is there, so links "
        "may lead over it.",
        existing_comment=DOMAINS,
    )


def _check(table: str, column: str, words: str) -> None:
    """A check of a column's words, instead of the one that there is.

    It takes more words than that, so older code writes none that it refuses. Both halves are one statement, because
    either alone would be no expanding step. The rows that are there pass: nobody waits here until they are all read
    (:mod:`mailwarren.store.checks` does that afterwards).
    """
    name = f"ck_{table}_{column}"
    op.execute(
        f"DO $do$ BEGIN ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}; "
        f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({column} IN ({words})) NOT VALID; END $do$"
    )


def downgrade() -> None:
    """Drop them; opens and clicks are forgotten."""
    op.execute("DELETE FROM events WHERE kind IN ('opened', 'clicked')")
    op.execute(f"DELETE FROM stats_minute WHERE kind IN ({COUNTS})")
    _check("stats_minute", "kind", f"'accepted', {KINDS}")
    op.drop_constraint(op.f("ck_events_flag"), "events", type_="check")
    _check("events", "kind", KINDS)
    for name in ("ip", "flag", "agent", "link"):
        op.drop_column("events", name)
    for name in ("clicked_at", "opened_at", "clicks", "opens"):
        op.drop_column("deliveries", name)
    for name in ("tracking_subdomain", "tracks", "click_tracking", "open_tracking"):
        op.drop_column("domains", name)
    op.create_table_comment("deliveries", DELIVERIES)
    op.create_table_comment("domains", DOMAINS)
