"""Webhooks: what the tenants' own servers can be told of, in the words of the public API."""

import base64
from enum import StrEnum


class EventType(StrEnum):
    """What a webhook can be told of."""

    EMAIL_SENT = "email.sent"
    """Accepted: durable in the broker. Once for each recipient, as all of an email's events."""
    EMAIL_SCHEDULED = "email.scheduled"
    EMAIL_DELIVERED = "email.delivered"
    EMAIL_DELIVERY_DELAYED = "email.delivery_delayed"
    """Deferred for the first time: what comes of the later attempts is told when it has ended."""
    EMAIL_BOUNCED = "email.bounced"
    EMAIL_FAILED = "email.failed"
    """Also of mail whose time ran out."""
    EMAIL_SUPPRESSED = "email.suppressed"
    EMAIL_COMPLAINED = "email.complained"
    EMAIL_OPENED = "email.opened"
    """Each open that counts as the reader's, of tracked mail."""
    EMAIL_CLICKED = "email.clicked"
    """The same of clicks."""
    CONTACT_CREATED = "contact.created"
    CONTACT_UPDATED = "contact.updated"
    CONTACT_DELETED = "contact.deleted"
    CONTACT_TOPICS_UPDATED = "contact.topics.updated"
    TOPIC_CREATED = "topic.created"
    TOPIC_UPDATED = "topic.updated"
    TOPIC_DELETED = "topic.deleted"
    DOMAIN_CREATED = "domain.created"
    DOMAIN_UPDATED = "domain.updated"
    DOMAIN_DELETED = "domain.deleted"
    SUPPRESSION_ADDED = "suppression.added"
    SUPPRESSION_REMOVED = "suppression.removed"
    WEBHOOK_DISABLED = "webhook.disabled"
    """Ours: another webhook of the tenant was given up, because nothing has come through for days."""


NOT_MADE_YET = frozenset(
    {
        EventType.EMAIL_COMPLAINED,
    }
)
"""Types that nothing here causes in this version: asking for one is refused, so that nobody waits for it in vain.

Who makes one takes it out of here.
"""


SECRET_OCTETS = 32
"""Of a signing key; Standard Webhooks has 24 to 64."""


def secret_text(key: bytes) -> str:
    """A signing key as people keep it."""
    return f"whsec_{base64.b64encode(key).decode()}"
