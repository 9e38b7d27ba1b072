"""The endpoints, a module for each resource, in one table: the router and the OpenAPI document are made from it."""

from mailwarren.ingest.api.tables import (
    api_keys,
    attachments,
    broadcasts,
    contacts,
    domains,
    emails,
    imports,
    operating,
    properties,
    scheduled,
    segments,
    suppressions,
    templates,
    tls_reports,
    topics,
    webhooks,
)

ENDPOINTS = (
    *emails.ENDPOINTS,
    *attachments.ENDPOINTS,
    *scheduled.ENDPOINTS,
    *api_keys.ENDPOINTS,
    *domains.ENDPOINTS,
    *contacts.ENDPOINTS,
    *imports.ENDPOINTS,
    *properties.ENDPOINTS,
    *segments.ENDPOINTS,
    *broadcasts.ENDPOINTS,
    *suppressions.ENDPOINTS,
    *templates.ENDPOINTS,
    *topics.ENDPOINTS,
    *webhooks.ENDPOINTS,
    *operating.ENDPOINTS,
    *tls_reports.ENDPOINTS,
)
