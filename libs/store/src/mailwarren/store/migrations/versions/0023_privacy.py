"""Exports and erasures of an address, and tags of emails in the order of lists.

The indexes on big tables are made beside, without a lock (:mod:`mailwarren.store.indexes`), and so are the tags of the
emails that are there (:mod:`mailwarren.store.fills`).
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0023_privacy"
down_revision = "0022_metrics"
branch_labels = None
depends_on = None
step = "expand"

TIME = sa.DateTime(timezone=True)

# A value that an index cannot hold is left out: no tag may keep an email from being recorded.
_TAGS_OF = """
SELECT DISTINCT {0}.tenant, t.tag ->> 'name', coalesce(t.tag ->> 'value', ''), {0}.created_at, {0}.id
FROM jsonb_array_elements({0}.tags) AS t(tag)
WHERE t.tag ->> 'name' IS NOT NULL
  AND octet_length(t.tag ->> 'name') + octet_length(coalesce(t.tag ->> 'value', '')) < 2000
"""
NOTE_TAGS = f"""
CREATE FUNCTION note_email_tags() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $body$
BEGIN
  INSERT INTO email_tags (tenant, name, value, created_at, email_id) {_TAGS_OF.format("NEW")} ON CONFLICT DO NOTHING;
  RETURN NULL;
END
$body$
"""
DROP_TAGS = f"""
CREATE FUNCTION drop_email_tags() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $body$
BEGIN
  DELETE FROM email_tags WHERE (tenant, name, value, created_at, email_id) IN ({_TAGS_OF.format("OLD")});
  RETURN NULL;
END
$body$
"""
TAGGED = "jsonb_typeof({0}.tags) = 'array' AND {0}.tags <> '[]'::jsonb"
# A mailbox as it was given: the address alone, or a name before it.
_MAILBOXES = """coalesce((
    SELECT array_agg(
      CASE WHEN lower(btrim(regexp_replace(m.box, '^.*<([^<>]*)>\\s*$', '\\1'))) = who THEN stand_in
        ELSE m.box END ORDER BY m.n)
    FROM unnest(e.{0}) WITH ORDINALITY AS m(box, n)), '{{}}')"""
ERASE_MAIL = f"""
CREATE FUNCTION erase_mail(whose uuid, who text, pattern text, stand_in text, at_most integer)
RETURNS TABLE (erased bigint, alone uuid[]) LANGUAGE plpgsql SECURITY DEFINER AS $body$
DECLARE
  ones uuid[];
  mails uuid[];
  said bytea[];
BEGIN
  SELECT coalesce(array_agg(d.id), '{{}}'), coalesce(array_agg(DISTINCT d.email_id), '{{}}') INTO ones, mails
  FROM (SELECT f.id, f.email_id FROM deliveries f WHERE f.tenant = whose AND lower(f.address) = who LIMIT at_most) d;
  -- In the order of their ids, as the tracker locks them.
  PERFORM 1 FROM deliveries d WHERE d.id = ANY(ones) ORDER BY d.id FOR NO KEY UPDATE;
  SELECT coalesce(array_agg(m.id), '{{}}') INTO alone FROM unnest(mails) AS m(id)
  WHERE NOT EXISTS (
    SELECT FROM deliveries d
    WHERE d.email_id = m.id AND d.tenant = whose AND lower(d.address) <> who AND d.address <> stand_in);
  UPDATE emails e SET
    "to" = {_MAILBOXES.format('"to"')},
    cc = {_MAILBOXES.format("cc")},
    bcc = {_MAILBOXES.format("bcc")},
    subject = CASE WHEN e.id = ANY(alone) AND e.variables IS NULL THEN '' ELSE e.subject END,
    metadata = CASE WHEN e.id = ANY(alone) THEN '{{}}' ELSE e.metadata END,
    variables = CASE WHEN e.id = ANY(alone) AND e.variables IS NOT NULL THEN '{{}}' ELSE e.variables END
  WHERE e.tenant = whose AND e.id = ANY(mails);
  SELECT coalesce(array_agg(DISTINCT e.content), '{{}}') INTO said
  FROM emails e WHERE e.id = ANY(alone) AND e.variables IS NULL;
  -- What others got too is not about this person; emails without a content are shown without one.
  DELETE FROM contents c WHERE c.digest = ANY(said) AND c.tenant = whose AND NOT EXISTS (
    SELECT FROM emails o
    WHERE o.content = c.digest AND o.variables IS NULL AND NOT o."to" <@ ARRAY[stand_in]);
  UPDATE events v SET
    reply_text = regexp_replace(v.reply_text, pattern, stand_in, 'gi'),
    trouble = regexp_replace(v.trouble, pattern, stand_in, 'gi'),
    reason = regexp_replace(v.reason, pattern, stand_in, 'gi'),
    -- Of an open or a click: what its reader read, and with what from where.
    link = NULL, agent = NULL, ip = NULL
  WHERE v.email_id = ANY(mails) AND v.delivery_id = ANY(ones)
    AND (v.reply_text ~* pattern OR v.trouble ~* pattern OR v.reason ~* pattern
      OR num_nonnulls(v.link, v.agent, v.ip) > 0);
  UPDATE deliveries d SET
    address = stand_in,
    reply_text = regexp_replace(d.reply_text, pattern, stand_in, 'gi'),
    trouble = regexp_replace(d.trouble, pattern, stand_in, 'gi')
  WHERE d.id = ANY(ones);
  erased := cardinality(ones);
  RETURN NEXT;
END
$body$
"""
ERASE_WEBHOOKS = """
CREATE FUNCTION erase_webhooks(
  whose uuid, pattern text, stand_in text, after_endpoint uuid, after_id uuid, at_most integer)
RETURNS TABLE (seen bigint, erased bigint, last_endpoint uuid, last_id uuid)
LANGUAGE plpgsql SECURITY DEFINER AS $body$
DECLARE
  endpoints uuid[];
  ids uuid[];
BEGIN
  SELECT coalesce(array_agg(p.endpoint ORDER BY p.endpoint, p.id), '{}'),
    coalesce(array_agg(p.id ORDER BY p.endpoint, p.id), '{}') INTO endpoints, ids
  FROM (
    SELECT w.endpoint, w.id FROM webhook_deliveries w
    WHERE w.tenant = whose AND (w.endpoint, w.id) > (after_endpoint, after_id)
    ORDER BY w.endpoint, w.id LIMIT at_most
  ) p;
  seen := cardinality(ids);
  last_endpoint := endpoints[seen];
  last_id := ids[seen];
  WITH hit AS (
    UPDATE webhook_deliveries w SET data = regexp_replace(w.data::text, pattern, stand_in, 'gi')::jsonb
      || CASE WHEN w.data ? 'first_name' THEN '{"first_name": null, "last_name": null}'::jsonb ELSE '{}'::jsonb END
      || CASE WHEN w.data ? 'click' THEN jsonb_build_object('click',
        w.data -> 'click' || '{"ipAddress": "", "link": "", "userAgent": ""}'::jsonb) ELSE '{}'::jsonb END
    FROM unnest(endpoints, ids) AS p(endpoint, id)
    WHERE w.tenant = whose AND w.endpoint = p.endpoint AND w.id = p.id AND w.data::text ~* pattern
    RETURNING w.endpoint, w.id
  ), answers AS (
    UPDATE webhook_attempts a SET response = '' FROM hit h
    WHERE a.tenant = whose AND a.endpoint = h.endpoint AND a.event = h.id RETURNING 1
  ) SELECT count(*) INTO erased FROM hit;
  RETURN NEXT;
END
$body$
"""
TRIGGERS = {"note_email_tags()": NOTE_TAGS, "drop_email_tags()": DROP_TAGS}
FUNCTIONS = {
    "erase_mail(uuid, text, text, text, integer)": ERASE_MAIL,
    "erase_webhooks(uuid, text, text, uuid, uuid, integer)": ERASE_WEBHOOKS,
}
LATER = ("ix_deliveries_address", "ix_deliveries_state", "ix_emails_content")
"""Indexes that are made beside."""


def upgrade() -> None:
    """Create everything; a tracker of the version before writes tags through the trigger."""
    _requests()
    _erased()
    op.create_table(
        "email_tags",
        sa.Column("tenant", sa.Uuid, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("email_id", sa.Uuid, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name", "value", "created_at", "email_id", name="pk_email_tags"),
        comment=(
            "Writer: tracker. By a trigger on emails: their tags, in the order in which lists show them; made and gone "
            "with the email."
        ),
    )
    for name, definition in (TRIGGERS | FUNCTIONS).items():
        op.execute(definition)
        # The path of the function, not of its caller, who could put a table of his own before ours.
        op.execute(
            f"DO $do$ BEGIN EXECUTE format('ALTER FUNCTION {name} SET search_path = %I, pg_temp',"
            " current_schema()); END $do$"
        )
        op.execute(f"REVOKE ALL ON FUNCTION {name} FROM PUBLIC")
    op.execute(
        "CREATE TRIGGER email_tags_made AFTER INSERT ON emails FOR EACH ROW "
        f"WHEN ({TAGGED.format('NEW')}) EXECUTE FUNCTION note_email_tags()"
    )
    op.execute(
        "CREATE TRIGGER email_tags_gone AFTER DELETE ON emails FOR EACH ROW "
        f"WHEN ({TAGGED.format('OLD')}) EXECUTE FUNCTION drop_email_tags()"
    )
    op.create_table(
        "schema_fills",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("after", sa.Uuid),
        sa.Column("ended_at", TIME),
        sa.PrimaryKeyConstraint("name", name="pk_schema_fills"),
        comment=(
            "Writer: mailwarren migrate. Tables whose rows stand for older ones of another table: after is the id that "
            "filling has reached, ended_at its end. A row stays for ever."
        ),
    )
    op.execute("INSERT INTO schema_fills (name) VALUES ('email_tags')")


def _requests() -> None:
    op.create_table(
        "privacy_requests",
        sa.Column("tenant", sa.Uuid, nullable=False),
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("address", sa.Text),
        sa.Column("stage", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("place", JSONB),
        sa.Column("counts", JSONB, nullable=False, server_default=sa.text("'{}'")),
        sa.Column("parts", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("size", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("error", sa.Text),
        sa.Column("order_id", sa.Uuid),
        sa.Column("issued", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("holder", sa.Uuid),
        sa.Column("due_at", TIME, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("ended_at", TIME),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_privacy_requests"),
        sa.CheckConstraint("kind IN ('export', 'erasure')", name=op.f("ck_privacy_requests_kind")),
        sa.CheckConstraint(
            "state IN ('queued', 'in_progress', 'completed', 'failed')", name=op.f("ck_privacy_requests_state")
        ),
        comment=(
            "Writer: ingest. Exports and erasures of an address (lower case; null once it is erased). stage and place "
            "say how far it is, together with what was done. order_id is the order that may work on it, holder the "
            "worker that does, due_at when the scheduler gives another order. Kept for MAILWARREN_PRIVACY_DAYS after "
            "its end."
        ),
    )
    op.create_index(
        "ix_privacy_requests_open",
        "privacy_requests",
        ["due_at"],
        postgresql_where=sa.text("state IN ('queued', 'in_progress')"),
    )
    op.create_table(
        "privacy_parts",
        sa.Column("tenant", sa.Uuid, nullable=False),
        sa.Column("request", sa.Uuid, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "request", "number", name="pk_privacy_parts"),
        sa.ForeignKeyConstraint(
            ["tenant", "request"],
            ["privacy_requests.tenant", "privacy_requests.id"],
            name="fk_privacy_parts_tenant_request_privacy_requests",
            ondelete="CASCADE",
        ),
        comment=(
            "Writer: ingest. What an export found, in pieces: lines of JSON of one kind, deflated. Deleted "
            "MAILWARREN_EXPORT_DAYS after the end of its request."
        ),
    )


def _erased() -> None:
    op.create_table(
        "erasure_keys",
        sa.Column("tenant", sa.Uuid, nullable=False),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("tenant", name="pk_erasure_keys"),
        comment=(
            "Writer: ingest. The key of a tenant's erased_addresses, 32 octets, made with the first of them. "
            "Kept as long as the tenant."
        ),
    )
    op.create_table(
        "erased_addresses",
        sa.Column("tenant", sa.Uuid, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "hash", name="pk_erased_addresses"),
        comment=(
            "Writer: ingest. Addresses that were erased and get no mail any more: SHA-256 of the tenant's erasure key "
            "and the address (lower case). Kept until the address is admitted again."
        ),
    )


def downgrade() -> None:
    """Drop everything; erased addresses may be written to again."""
    for index in LATER:
        op.execute(f"DROP INDEX IF EXISTS {index}")
    op.execute("DROP TRIGGER email_tags_gone ON emails")
    op.execute("DROP TRIGGER email_tags_made ON emails")
    for name in (*FUNCTIONS, *TRIGGERS):
        op.execute(f"DROP FUNCTION {name}")
    for table in (
        "schema_fills",
        "email_tags",
        "erased_addresses",
        "erasure_keys",
        "privacy_parts",
        "privacy_requests",
    ):
        op.drop_table(table)
