"""The ledger: tables that the tracker alone writes.

Ids come from the messages (:mod:`mailwarren.contracts.ids`), so that a message that comes twice meets its own rows.
There are no foreign keys: an outcome may overtake its acceptance, and then a delivery stands here before its email.
Times are Unix seconds on the wire and timestamptz here. Postgres refuses NUL in text: such a message is set aside.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from mailwarren.contracts.events import Kind
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.parcel import OnUnknown, Role, Syntax
from mailwarren.contracts.shaping import Scope
from mailwarren.contracts.tracking import COUNTS, Flag, HitKind
from mailwarren.store.metadata import NEW_ID, metadata, one_of
from mailwarren.store.states import Origin, State

Time = DateTime(timezone=True)

contents = Table(
    "contents",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("tenant", Uuid, nullable=False),
    Column("sender", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("html", Text),
    Column("text", Text),
    Column("headers", JSONB, nullable=False),
    Column("syntax", Text, nullable=False),
    Column("first_seen", Time, nullable=False),
    Column("last_seen", Time, nullable=False, server_default=text("now()")),
    one_of("syntax", Syntax),
    comment=(
        "Writer: tracker. What mails say, once per tenant and SHA-256 digest. No email that refers to it was recorded "
        "more than a day after last_seen."
    ),
)
Index("ix_contents_last_seen", contents.c.last_seen, postgresql_using="brin")

emails = Table(
    "emails",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("tenant", Uuid, nullable=False),
    Column("created_at", Time, nullable=False),
    Column("request_id", Uuid),
    Column("lane", Text, nullable=False),
    Column("partition", SmallInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("sender", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("to", ARRAY(Text), nullable=False),
    Column("cc", ARRAY(Text), nullable=False),
    Column("bcc", ARRAY(Text), nullable=False),
    Column("reply_to", ARRAY(Text), nullable=False),
    Column("tags", JSONB, nullable=False),
    Column("metadata", JSONB, nullable=False),
    Column("variables", JSONB),
    Column("message_id", Text, nullable=False),
    Column("expires_at", Time),
    Column("on_unknown", Text, nullable=False),
    Column("cancel_requested_at", Time),
    # 128 bits, as a UUID has; Postgres' text of them has twice the octets.
    Column("trace_id", Uuid),
    one_of("lane", Lane),
    one_of("on_unknown", OnUnknown),
    comment="Writer: tracker. What one API call asked to send; content is the digest of its row in contents.",
)
Index("ix_emails_page", emails.c.tenant, emails.c.created_at.desc(), emails.c.id.desc())
# What was written for one person; the rows of bulk calls and broadcasts share a template.
Index("ix_emails_content", emails.c.content, postgresql_where=emails.c.variables.is_(None))

email_tags = Table(
    "email_tags",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    Column("created_at", Time, primary_key=True),
    Column("email_id", Uuid, primary_key=True),
    comment=(
        "Writer: tracker. By a trigger on emails: their tags, in the order in which lists show them; made and gone "
        "with the email."
    ),
)

cancels = Table(
    "cancels",
    metadata,
    Column("email_id", Uuid, primary_key=True),
    Column("tenant", Uuid, nullable=False),
    Column("at", Time, nullable=False),
    comment="Writer: tracker. Cancels that overtook the acceptance of their email, which takes them over.",
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("email_id", Uuid, nullable=False, index=True),
    Column("tenant", Uuid, nullable=False),
    Column("address", Text, nullable=False),
    Column("role", Text),
    Column("lane", Text, nullable=False),
    Column("shard", Text),
    Column("partition", SmallInteger),
    Column("state", Text, nullable=False),
    Column("attempt", Integer, nullable=False, server_default=text("0")),
    Column("started", Integer, nullable=False, server_default=text("0")),
    Column("parked", Integer, nullable=False, server_default=text("0")),
    Column("accepted_at", Time),
    Column("updated_at", Time, nullable=False),
    Column("ended_at", Time),
    Column("next_attempt_at", Time),
    Column("reply_code", SmallInteger),
    Column("reply_enhanced", Text),
    Column("reply_text", Text),
    Column("reply_command", Text),
    Column("trouble", Text),
    Column("bounce_class", Text),
    Column("site", Text),
    Column("host", Text),
    Column("tls", Text),
    Column("tls_policy", Text),
    Column("egress", Text),
    Column("broadcast", Uuid),
    Column("sender_domain", Text),
    Column("deferred_at", Time),
    Column("opens", Integer, nullable=False, server_default=text("0")),
    Column("clicks", Integer, nullable=False, server_default=text("0")),
    Column("opened_at", Time),
    Column("clicked_at", Time),
    one_of("role", Role),
    one_of("lane", Lane),
    one_of("state", State),
    comment=(
        "Writer: tracker. One address of an email: the unit of the ledger. attempt, started and parked are the highest "
        "attempts that had an outcome, wrote mail data, and were parked. accepted_at, role, shard and partition are "
        "null until the acceptance is seen. broadcast: which one it is a part of. opens and clicks are those that "
        "count as its reader's, opened_at and clicked_at the first. sender_domain: of the From address; it is counted "
        "in email_metrics from then on. deferred_at: the first deferral."
    ),
)
Index(
    "ix_deliveries_open",
    deliveries.c.lane,
    deliveries.c.state,
    deliveries.c.accepted_at,
    postgresql_where=deliveries.c.ended_at.is_(None),
)
Index(
    "ix_deliveries_broadcast",
    deliveries.c.tenant,
    deliveries.c.broadcast,
    deliveries.c.id,
    postgresql_include=["state"],
    postgresql_where=deliveries.c.broadcast.is_not(None),
)
Index(
    "ix_deliveries_address",
    deliveries.c.tenant,
    func.lower(deliveries.c.address),
    deliveries.c.accepted_at,
    deliveries.c.email_id,
)
Index(
    "ix_deliveries_state",
    deliveries.c.tenant,
    deliveries.c.state,
    deliveries.c.accepted_at,
    deliveries.c.email_id,
)
Index(
    "ix_deliveries_quota",
    deliveries.c.tenant,
    func.lower(deliveries.c.address),
    postgresql_where=text("bounce_class = 'quota' AND state = 'bounced'"),
)

events = Table(
    "events",
    metadata,
    Column("at", Time, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("delivery_id", Uuid, nullable=False),
    Column("email_id", Uuid, nullable=False, index=True),
    Column("tenant", Uuid, nullable=False),
    Column("kind", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("reply_code", SmallInteger),
    Column("reply_enhanced", Text),
    Column("reply_text", Text),
    Column("reply_command", Text),
    Column("trouble", Text),
    Column("bounce_class", Text),
    Column("site", Text),
    Column("host", Text),
    Column("duration", Double),
    Column("reason", Text),
    Column("next_attempt_at", Time),
    Column("tls", Text),
    Column("tls_policy", Text),
    Column("egress", Text),
    Column("link", Text),
    Column("agent", Text),
    Column("flag", Text),
    Column("ip", Text),
    one_of("kind", [*Kind, *HitKind]),
    one_of("flag", Flag),
    comment="Writer: tracker. What happened to deliveries, one partition a day (events_YYYYMMDD) and events_default.",
    postgresql_partition_by="RANGE (at)",
)

claims = Table(
    "claims",
    metadata,
    Column("delivery_id", Uuid, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("asker", Uuid, nullable=False),
    Column("turn", Integer, nullable=False),
    Column("count", Integer, nullable=False),
    Column("at", Time, nullable=False, index=True),
    Column("question", Uuid),
    Column("contested", Boolean, nullable=False, server_default=text("false")),
    comment="Writer: tracker. Which sender may make an attempt that was made before or may have been (settle).",
)

suppressions = Table(
    "suppressions",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("address", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("email_id", Uuid),
    Column("created_at", Time, nullable=False),
    Column("expires_at", Time),
    # With a default, because a version that knows no ids inserts rows too.
    Column("id", Uuid, server_default=text(NEW_ID)),
    one_of("origin", Origin),
    comment=(
        "Writers: tracker, ingest. Addresses (lower case) that get none of a tenant's mail: the tracker adds what "
        "bounces, ingest what people decide, and takes out. reason: a bounce class, or manual or import. Kept until "
        "expires_at, or until somebody takes it out."
    ),
)
Index("ix_suppressions_id", suppressions.c.tenant, suppressions.c.id)
Index("ix_suppressions_origin", suppressions.c.tenant, suppressions.c.origin, suppressions.c.id)
Index(
    "ix_suppressions_expires_at",
    suppressions.c.expires_at,
    postgresql_where=suppressions.c.expires_at.is_not(None),
)

stats_minute = Table(
    "stats_minute",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("minute", Time, primary_key=True),
    Column("lane", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
    one_of("lane", Lane),
    one_of("kind", [State.ACCEPTED, *Kind, *COUNTS]),
    comment="Writer: tracker. Acceptances and events per minute in which they happened, each counted once.",
)

shaping_overrides = Table(
    "shaping_overrides",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("scope", Text),
    Column("name", Text),
    Column("since", Time),
    Column("until", Time, index=True),
    Column("suspend", Boolean, nullable=False, server_default=text("false")),
    Column("connections", Integer),
    Column("rate", Double),
    Column("cause", Text, nullable=False, server_default=text("''")),
    Column("sample", Text, nullable=False, server_default=text("''")),
    Column("ended_at", Time),
    Column("ended_by", Text),
    Column("lane", Text),
    one_of("scope", Scope),
    one_of("lane", Lane),
    comment=(
        "Writer: tracker. Limits and suspensions of sites and tenants, as they stood in the control log. ended_at and "
        "ended_by are of one that was ended before its time; scope, name, since and until are null while only its end "
        "is known. lane: the one that a tenant's suspension is about, null for all."
    ),
)
