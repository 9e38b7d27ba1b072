"""Every enumeration of the wire that stands in a column has all of its words there."""

import re

import pytest
from sqlalchemy import CheckConstraint

from mailwarren.contracts.dkim import ED25519, RSA
from mailwarren.contracts.events import Kind
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.parcel import OnUnknown, Role, Syntax
from mailwarren.contracts.shaping import Scope
from mailwarren.contracts.tracking import COUNTS, Flag, HitKind
from mailwarren.store.metadata import metadata
from mailwarren.store.states import (
    ENDS,
    BreakerState,
    BroadcastState,
    DomainState,
    ImportState,
    KeyState,
    Leaving,
    Origin,
    PrivacyKind,
    PrivacyState,
    PropertyType,
    ScheduleState,
    State,
    Subscription,
    Visibility,
    WebhookState,
    WebhookStatus,
)
from mailwarren.store.tables import (
    broadcasts,
    contacts,
    domains,
    imports,
    logs,
    metrics,
    privacy,
    scheduled,
    tracker,
    unsubscribes,
    webhooks,
)

WORDS = {
    ("contents", "syntax"): Syntax,
    ("emails", "lane"): Lane,
    ("emails", "on_unknown"): OnUnknown,
    ("deliveries", "role"): Role,
    ("deliveries", "lane"): Lane,
    ("deliveries", "state"): State,
    ("events", "kind"): [*Kind, *HitKind],
    ("events", "flag"): Flag,
    ("suppressions", "origin"): Origin,
    ("shaping_overrides", "scope"): Scope,
    ("shaping_overrides", "lane"): Lane,
    ("breakers", "state"): BreakerState,
    ("stats_minute", "lane"): Lane,
    ("stats_minute", "kind"): [State.ACCEPTED, *Kind, *COUNTS],
    ("contact_properties", "type"): PropertyType,
    ("topics", "default_subscription"): Subscription,
    ("topics", "visibility"): Visibility,
    ("contact_topics", "subscription"): Subscription,
    ("contact_imports", "state"): ImportState,
    ("scheduled", "lane"): Lane,
    ("scheduled", "state"): ScheduleState,
    ("broadcasts", "lane"): Lane,
    ("broadcasts", "state"): BroadcastState,
    ("privacy_requests", "kind"): PrivacyKind,
    ("privacy_requests", "state"): PrivacyState,
    ("domains", "state"): DomainState,
    ("domains", "tls"): domains.TLS,
    ("domain_keys", "state"): KeyState,
    ("domain_keys", "algorithm"): [RSA, ED25519],
    ("unsubscribes", "reason"): Leaving,
    ("webhooks", "status"): WebhookStatus,
    ("webhook_deliveries", "state"): WebhookState,
}
OF_CONTACTS = [
    contacts.contacts, contacts.contact_properties, contacts.segments, contacts.contact_segments, contacts.topics,
    contacts.contact_topics,
]  # fmt: skip
OF_IMPORTS = [imports.contact_imports, imports.contact_import_chunks, imports.contact_import_errors]
OF_SCHEDULES = [scheduled.scheduled, scheduled.scheduled_contents]
OF_BROADCASTS = [broadcasts.broadcasts]
OF_DOMAINS = [domains.domains, domains.domain_keys]
OF_LISTS = [unsubscribes.unsubscribes]
OF_WEBHOOKS = [webhooks.webhooks]
OF_PRIVACY = [
    privacy.privacy_requests, privacy.privacy_parts, privacy.erasure_keys, privacy.erased_addresses,
]  # fmt: skip
OF_INGEST = [
    *OF_PRIVACY,
    *OF_CONTACTS,
    *OF_IMPORTS,
    *OF_SCHEDULES,
    *OF_BROADCASTS,
    *OF_DOMAINS,
    *OF_LISTS,
    *OF_WEBHOOKS,
    logs.api_logs,
]
OF_BOTH = [tracker.suppressions]
TABLES = [
    tracker.contents, tracker.emails, tracker.email_tags, tracker.cancels, tracker.deliveries, tracker.events,
    tracker.claims, tracker.stats_minute, tracker.shaping_overrides,
    webhooks.webhook_deliveries, webhooks.webhook_attempts, webhooks.webhook_health, metrics.email_metrics,
    metrics.breakers,
]  # fmt: skip
ALL = TABLES + OF_INGEST + OF_BOTH


def checks():
    for table in ALL:
        for constraint in table.constraints:
            if isinstance(constraint, CheckConstraint):
                column, listed = str(constraint.sqltext).split(" IN ")
                yield (table.name, column), set(re.findall(r"'([\w-]+)'", listed))


def test_the_checks_are_those_of_the_enumerations():
    assert dict(checks()) == {key: {str(word) for word in words} for key, words in WORDS.items()}


def test_every_end_and_every_event_but_started_is_a_state():
    assert {str(kind) for kind in Kind} - {"started"} == {str(state) for state in State} - {"accepted"}
    assert set(State) - ENDS == {State.ACCEPTED, State.DEFERRED, State.PARKED, State.UNCONFIRMED}


@pytest.mark.parametrize("table", ALL, ids=lambda table: table.name)
def test_every_table_names_its_one_writer_and_one_table_two(table):
    if table in OF_BOTH:
        assert table.comment.startswith("Writers: tracker, ingest. ")
    else:
        assert table.comment.startswith("Writer: tracker. " if table in TABLES else "Writer: ingest. ")
    assert table.metadata is metadata
