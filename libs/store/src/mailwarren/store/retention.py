"""How long each table keeps its rows, who deletes them, and what a request about an address does with them.

A table that is not named here fails a test (``tests/rules/test_retention_rules.py``); ``docs/privacy.md`` shows this
table to people.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Forgets(StrEnum):
    """Who deletes what is past its time."""

    WORKER = "worker"
    """The job ``ops.retention``."""
    TRACKER = "tracker"
    """The tracker's upkeep, of events and of webhooks."""
    CALL = "call"
    """A call of the API, or a change of the row that it belongs to."""
    NOBODY = "nobody"
    """It is kept for ever, or a row stands for each of a few things."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What becomes of a table's rows.

    Attributes:
        kept: how long, in words.
        by: who deletes them.
        kind: of a worker's, as ``mailwarren_ops_forgotten_rows_total`` counts it.
        setting: the variable that says how long, if one does.
        export: the file of an export that has them; None where nothing is personal, or it stands elsewhere.
        erasure: what an erasure does with them.
    """

    kept: str
    by: Forgets
    kind: str | None = None
    setting: str | None = None
    export: str | None = None
    erasure: str = "nothing personal"


_MAIL = "MAILWARREN_EMAILS_DAYS"
_W, _T, _C, _N = Forgets.WORKER, Forgets.TRACKER, Forgets.CALL, Forgets.NOBODY

RETENTION: Mapping[str, Rule] = {
    "tenants": Rule("for ever", _N),
    # The row of a deleted key keeps its token from being installed again.
    "api_keys": Rule("for ever", _N),
    "idempotency_keys": Rule("24 hours", _W, "idempotency_keys", erasure="the address in answers is replaced"),
    "periodic_jobs": Rule("a row for each job", _N),
    "contacts": Rule("until deleted", _C, export="contacts", erasure="deleted"),
    "contact_properties": Rule("until deleted", _W, "contact_properties"),
    "segments": Rule("until deleted", _W, "segments"),
    "contact_segments": Rule(
        "as long as contact and segment", _W, "contact_segments", export="contacts", erasure="deleted"
    ),
    "topics": Rule("until deleted", _W, "topics"),
    "contact_topics": Rule("as long as contact and topic", _W, "contact_topics", export="contacts", erasure="deleted"),
    "templates": Rule("until deleted", _C),
    "template_versions": Rule("the newest 50 of each template", _C),
    "contact_imports": Rule("after their end", _W, "imports", "MAILWARREN_IMPORTS_DAYS"),
    "contact_import_chunks": Rule(
        "until the import has ended", _W, "import_files", erasure="gone with the import's end"
    ),
    "contact_import_errors": Rule(
        "as long as the import", _W, "import_errors", "MAILWARREN_IMPORTS_DAYS", "import_errors", "the row is deleted"
    ),
    "scheduled": Rule(
        "after the release or cancel", _W, "scheduled", _MAIL, "scheduled", "deleted, or taken out of its recipients"
    ),
    "scheduled_contents": Rule(
        "as long as a scheduled email names them", _W, "scheduled_contents", erasure="gone when nothing names them"
    ),
    "blobs": Rule("after their last use", _W, "blobs", "MAILWARREN_BLOBS_DAYS", erasure="gone when no email has them"),
    "email_attachments": Rule(
        "after the acceptance", _W, "attachments", "MAILWARREN_ATTACHMENTS_DAYS", "emails",
        "those of mail to the address alone are deleted",
    ),
    "broadcasts": Rule("drafts until deleted; after their end", _W, "broadcasts", _MAIL),
    "domains": Rule("until deleted, and 30 days more", _W, "domains"),
    "domain_keys": Rule("as long as the domain, or their rotation", _W, "domains"),
    "contents": Rule(
        "a day longer than their emails", _W, "contents", _MAIL, "emails",
        "those of mail to the address alone are deleted",
    ),
    "emails": Rule("after the last delivery ended", _W, "emails", _MAIL, "emails", "the address is replaced"),
    "email_tags": Rule("as long as the email", _W, "emails", _MAIL),
    "deliveries": Rule("after the last delivery ended", _W, "deliveries", _MAIL, "emails", "the address is replaced"),
    "events": Rule(
        "whole days", _T, setting="MAILWARREN_TRACKER_EVENTS_DAYS", export="emails",
        erasure="the address in replies is replaced; links, user agents and addresses of clicks are taken out",
    ),
    "cancels": Rule("3 days", _T),
    "claims": Rule("3 days", _T),
    "suppressions": Rule("until they end or are taken out", _W, "suppressions", None, "suppressions", "deleted"),
    "unsubscribes": Rule("until the address wants mail again", _W, "unsubscribes", None, "unsubscribes", "deleted"),
    "stats_minute": Rule("since the minute", _W, "stats", "MAILWARREN_STATS_DAYS"),
    "email_metrics": Rule("since the quarter of an hour", _W, "metrics", "MAILWARREN_STATS_DAYS"),
    "breakers": Rule("a row for each tenant", _N),
    # Bodies and paths are kept without whom they name.
    "api_logs": Rule("since the call", _W, "api_logs", "MAILWARREN_API_LOGS_DAYS"),
    "shaping_overrides": Rule("after their end", _T, setting="MAILWARREN_TRACKER_EVENTS_DAYS"),
    "tls_results": Rule("whole days", _T, setting="MAILWARREN_TRACKER_EVENTS_DAYS"),
    "webhooks": Rule("until deleted", _C),
    "webhook_deliveries": Rule(
        "since they were made", _T, setting="MAILWARREN_WEBHOOKS_DAYS", export="webhooks",
        erasure="the address is replaced; names, and links, user agents and addresses of clicks are taken out",
    ),
    "webhook_attempts": Rule(
        "as long as their event", _T, setting="MAILWARREN_WEBHOOKS_DAYS", erasure="answers to such events are emptied"
    ),
    "webhook_health": Rule("as long as the endpoint", _T),
    "privacy_requests": Rule(
        "after their end", _W, "privacy_requests", "MAILWARREN_PRIVACY_DAYS", erasure="the address is taken out"
    ),
    "privacy_parts": Rule(
        "after the end of the export", _W, "privacy_parts", "MAILWARREN_EXPORT_DAYS",
        erasure="exports of the address are deleted",
    ),
    "erasure_keys": Rule("as long as the tenant", _N),
    "erased_addresses": Rule("until the address is admitted again", _C, erasure="made: a keyed hash"),
    "schema_history": Rule("for ever", _N),
    "schema_fills": Rule("for ever", _N),
}  # fmt: skip
