"""Who may do what in the database: one role for each service that connects, with the least that its SQL needs.

The owner of the database runs the migrations and these grants; no service connects as the owner. A table that is not
named in :data:`TABLES` is nobody's, and a test says so.
"""

from collections.abc import Mapping

from mailwarren.contracts.access import Service

INGEST, TRACKER = Service.INGEST, Service.TRACKER

_R = frozenset({"SELECT"})
_RI = frozenset({"SELECT", "INSERT"})
_RIU = frozenset({"SELECT", "INSERT", "UPDATE"})
_RIUD = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})

TABLES: Mapping[str, Mapping[Service, frozenset[str]]] = {
    # Written by ``mailwarren keys bootstrap``, which the owner runs; a tenant's id stands in every other row.
    "tenants": {},
    "api_keys": {INGEST: _RIU},
    "idempotency_keys": {INGEST: _RIUD},
    "periodic_jobs": {INGEST: _RIUD},
    "contacts": {INGEST: _RIUD},
    "contact_properties": {INGEST: _RIUD},
    "segments": {INGEST: _RIUD},
    "contact_segments": {INGEST: _RIUD},
    "topics": {INGEST: _RIUD},
    "contact_topics": {INGEST: _RIUD},
    "templates": {INGEST: _RIUD},
    "template_versions": {INGEST: _RIUD},
    "contact_imports": {INGEST: _RIUD},
    "contact_import_chunks": {INGEST: frozenset({"SELECT", "INSERT", "DELETE"})},
    "contact_import_errors": {INGEST: frozenset({"SELECT", "INSERT", "DELETE"})},
    "scheduled": {INGEST: _RIUD},
    "scheduled_contents": {INGEST: frozenset({"SELECT", "INSERT", "DELETE"})},
    "blobs": {INGEST: _RIUD},
    "email_attachments": {INGEST: _RIUD},
    "broadcasts": {INGEST: _RIUD},
    "domains": {INGEST: _RIUD},
    "domain_keys": {INGEST: _RIUD},
    "api_logs": {INGEST: frozenset({"SELECT", "INSERT", "DELETE"})},
    "privacy_requests": {INGEST: _RIUD},
    "privacy_parts": {INGEST: frozenset({"SELECT", "INSERT", "DELETE"})},
    "erasure_keys": {INGEST: _RI},
    "erased_addresses": {INGEST: frozenset({"SELECT", "INSERT", "DELETE"})},
    "contents": {TRACKER: _RIU, INGEST: _R},
    "emails": {TRACKER: _RIU, INGEST: _R},
    # A trigger writes them, with its owner's rights.
    "email_tags": {TRACKER: _R, INGEST: _R},
    "deliveries": {TRACKER: _RIU, INGEST: _R},
    "events": {TRACKER: _RI, INGEST: _R},
    "events_default": {TRACKER: frozenset({"SELECT", "DELETE"})},
    "cancels": {TRACKER: frozenset({"SELECT", "INSERT", "DELETE"})},
    "claims": {TRACKER: _RIUD},
    # Two writers, and no other table has them: ``docs/adr/0035``.
    "suppressions": {TRACKER: _RIU, INGEST: _RIUD},
    "unsubscribes": {INGEST: _RIUD},
    "stats_minute": {TRACKER: _RIU},
    "shaping_overrides": {TRACKER: _RIUD, INGEST: _R},
    "tls_results": {TRACKER: _RIUD, INGEST: _R},
    "webhooks": {INGEST: _RIUD, TRACKER: _R},
    "webhook_deliveries": {TRACKER: _RIUD, INGEST: _R},
    "webhook_attempts": {TRACKER: frozenset({"SELECT", "INSERT", "DELETE"}), INGEST: _R},
    "webhook_health": {TRACKER: _RIUD, INGEST: _R},
    "email_metrics": {TRACKER: _RIU, INGEST: _R},
    "breakers": {TRACKER: _RIU, INGEST: _R},
}
"""Privileges by table and service. The days' partitions have none of their own: all goes through ``events``."""

BOOKKEEPING: tuple[str, ...] = ("alembic_version", "schema_history", "schema_fills")
"""What migrations note; every service reads it, to see whether the schema is one that it knows."""

FUNCTIONS: Mapping[str, Service] = {
    "make_events_partition(date)": TRACKER,
    "drop_events_partition(date)": TRACKER,
    # What the tracker wrote and nobody needs any more: docs/adr/0023.
    "forget_emails(timestamptz,integer)": INGEST,
    "forget_contents(timestamptz,integer)": INGEST,
    "forget_stats(timestamptz,integer)": INGEST,
    # Rows of the tracker's that belong to a change of ingest's: docs/adr/0033.
    "tell_webhooks(uuid,text,timestamptz,uuid[],jsonb[])": INGEST,
    "replay_webhook(uuid,uuid,uuid)": INGEST,
    "forget_metrics(timestamptz,integer)": INGEST,
    # What the tracker wrote about an address that is erased: docs/adr/0039.
    "erase_mail(uuid,text,text,text,integer)": INGEST,
    "erase_webhooks(uuid,text,text,uuid,uuid,integer)": INGEST,
}
"""Functions that run with the owner's rights, and who may call them."""

ROLES: tuple[Service, ...] = (INGEST, TRACKER)
"""Services with a role."""


def table_rights(service: Service) -> dict[str, frozenset[str]]:
    """A role's privileges on every table that is known here; empty for one that it has nothing to do with."""
    return {name: rights.get(service, frozenset()) for name, rights in TABLES.items()} | dict.fromkeys(BOOKKEEPING, _R)
