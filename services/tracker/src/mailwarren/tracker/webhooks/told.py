"""What is told of endpoints that are given up. Their tenants read it in the API, and their other webhooks are told."""

from collections.abc import Iterable

import structlog

from mailwarren.tracker.adapters.webhook_upkeep import GivenUp
from mailwarren.tracker.webhooks import metrics

log = structlog.get_logger()


def tell_given_up(given_up: Iterable[GivenUp]) -> None:
    """Log and count. Without the URL, which may hold a secret."""
    for one in given_up:
        metrics.record_given_up()
        log.warning("webhooks.endpoint.disabled", webhook=str(one.id), tenant=str(one.tenant), reason=one.reason)
