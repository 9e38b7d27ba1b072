"""Webhooks: where tenants want to be told of what happens (ingest), and what was told to whom (the tracker)."""

from sqlalchemy import Column, DateTime, Double, Index, LargeBinary, SmallInteger, Table, Text, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from mailwarren.store.metadata import metadata, one_of
from mailwarren.store.states import WebhookState, WebhookStatus

Time = DateTime(timezone=True)

webhooks = Table(
    "webhooks",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("endpoint", Text, nullable=False),
    Column("events", ARRAY(Text), nullable=False),
    Column("status", Text, nullable=False),
    Column("secret", LargeBinary, nullable=False),
    Column("previous_secret", LargeBinary),
    Column("previous_until", Time),
    Column("enabled_at", Time, nullable=False),
    Column("created_at", Time, nullable=False),
    Column("updated_at", Time, nullable=False),
    one_of("status", WebhookStatus),
    comment=(
        "Writer: ingest. Addresses that are told of events, kept until their tenant deletes them. The secrets are "
        "encrypted (MAILWARREN_DATA_KEYS); previous_secret signs too until previous_until. One that the tracker gave "
        "up has a webhook_health.disabled_at after enabled_at."
    ),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("endpoint", Uuid, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("at", Time, nullable=False),
    Column("data", JSONB, nullable=False),
    Column("email_id", Uuid),
    Column("state", Text, nullable=False, server_default=text("'pending'")),
    Column("attempts", SmallInteger, nullable=False, server_default=text("0")),
    Column("due_at", Time, server_default=text("now()")),
    Column("claim", Uuid),
    Column("created_at", Time, nullable=False, server_default=text("now()")),
    Column("ended_at", Time),
    one_of("state", WebhookState),
    comment=(
        "Writer: tracker. What an endpoint (webhooks.id) is to be told, written in the transaction that records it: "
        "kind happened at that time, data and the email say what it is about. It is tried at due_at, null at its end. "
        "claim: of the process that tries it, which is lost at due_at. Kept for MAILWARREN_WEBHOOKS_DAYS."
    ),
)
Index(
    "ix_webhook_deliveries_due",
    webhook_deliveries.c.tenant,
    webhook_deliveries.c.endpoint,
    webhook_deliveries.c.due_at,
    webhook_deliveries.c.id,
    postgresql_where=webhook_deliveries.c.due_at.is_not(None),
)
Index("ix_webhook_deliveries_created_at", webhook_deliveries.c.created_at)

webhook_attempts = Table(
    "webhook_attempts",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("endpoint", Uuid, primary_key=True),
    Column("event", Uuid, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("sent_at", Time, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("response", Text, nullable=False),
    Column("duration", Double, nullable=False),
    comment=(
        "Writer: tracker. Tries of a row of webhook_deliveries (event is its id), and gone with it. status is HTTP's, "
        "0 when there was no answer; response begins the answer, or says why there was none."
    ),
)

webhook_health = Table(
    "webhook_health",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("endpoint", Uuid, primary_key=True),
    Column("failing_since", Time),
    Column("last_success_at", Time),
    Column("last_failure_at", Time),
    Column("disabled_at", Time),
    Column("reason", Text),
    comment=(
        "Writer: tracker. How an endpoint (webhooks.id) does, gone some time after it: failing_since is null after a "
        "success. disabled_at and reason: when and why it was given up last."
    ),
)
