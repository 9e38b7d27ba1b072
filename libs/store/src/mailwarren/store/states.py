"""The words that stand in columns and cross no queue: of deliveries, lists, broadcasts, domains, webhooks, breakers."""

from enum import StrEnum


class State(StrEnum):
    """What became of a delivery so far. ``docs/glossary.md`` has the words for people."""

    ACCEPTED = "accepted"
    """Durable in the broker, not tried."""
    DEFERRED = "deferred"
    """Tried, will be tried again."""
    DELIVERED = "delivered"
    """The next hop answered 250 to the final dot."""
    BOUNCED = "bounced"
    """Refused for good by a named rule."""
    FAILED = "failed"
    """Refused otherwise, could not be built, or withdrawn by us."""
    EXPIRED = "expired"
    """Its time ran out without a yes."""
    CANCELED = "canceled"
    """Withdrawn by a person before it was sent."""
    SUPPRESSED = "suppressed"
    """Not sent: the address is on the suppression list."""
    HELD = "held"
    """Outcome unknown after a crash; a person decides."""
    PARKED = "parked"
    """In ``mail.dead`` for a person. No end: a replay goes on with it."""
    UNCONFIRMED = "unconfirmed"
    """The broker did not confirm the acceptance. No end: a sender may have it all the same."""


ENDS: frozenset[State] = frozenset(
    {
        State.DELIVERED,
        State.BOUNCED,
        State.FAILED,
        State.EXPIRED,
        State.CANCELED,
        State.SUPPRESSED,
        State.HELD,
    }
)
"""States in which no sender works on a delivery any more."""


class Origin(StrEnum):
    """Why an address is on a suppression list (``suppressions.origin``)."""

    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    MANUAL = "manual"


class Leaving(StrEnum):
    """How an address came to be unsubscribed (``unsubscribes.reason``)."""

    LINK = "unsubscribe"
    """Its reader followed the link of a mail."""
    CONTACT = "contact"
    """The tenant said so of its contact."""
    MANUAL = "manual"
    """The tenant put it on the list."""
    IMPORT = "import"
    """It stood in a file."""


class Subscription(StrEnum):
    """Whether a contact gets what is written about a topic."""

    IN = "opt_in"
    OUT = "opt_out"


class Visibility(StrEnum):
    """Whether every contact is shown a topic to choose, or only those who are subscribed to it."""

    PUBLIC = "public"
    PRIVATE = "private"


class PropertyType(StrEnum):
    """What the values of a contact property are."""

    STRING = "string"
    NUMBER = "number"
    BOOLEAN = "boolean"


class ImportState(StrEnum):
    """How far an import of contacts is (``contact_imports.state``)."""

    UPLOADING = "uploading"
    """Its file is coming in; nobody sees it yet."""
    QUEUED = "queued"
    """Waits for a worker."""
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    """Every row was read; some of them may have failed."""
    FAILED = "failed"
    """It cannot go on; what was imported stays."""
    CANCELED = "canceled"
    """Stopped by a person; what was imported stays."""


class ScheduleState(StrEnum):
    """What became of an email that is to be sent later (``scheduled.state``)."""

    SCHEDULED = "scheduled"
    """Waits for its time, or is being released."""
    HELD = "held"
    """Found long after its time: a person releases or cancels it."""
    RELEASED = "released"
    """Durable in the broker; the ledger has what became of it."""
    CANCELED = "canceled"
    """Withdrawn before it was released."""


class BroadcastState(StrEnum):
    """What became of a broadcast (``broadcasts.state``)."""

    DRAFT = "draft"
    """Being written."""
    SCHEDULED = "scheduled"
    """Waits for its time."""
    HELD = "held"
    """Found long after its time: a person resumes or cancels it."""
    QUEUED = "queued"
    """Waits for a worker."""
    SENDING = "sending"
    """A worker makes its mails, or waits for room to do so."""
    PAUSED = "paused"
    """Nothing more is published until a person resumes it."""
    SENT = "sent"
    """All of its mails are durable in the broker; the ledger has what became of them."""
    CANCELED = "canceled"
    """Withdrawn: nothing more is published, and what waits in the broker is not sent."""
    FAILED = "failed"
    """A worker gave it up; a person may resume it."""


class DomainState(StrEnum):
    """How it stands with a sending domain (``domains.state``); the words are those of the API."""

    NOT_STARTED = "not_started"
    """Nobody has looked at its DNS yet."""
    PENDING = "pending"
    """Its records were not all there when they were last looked at, and never were."""
    VERIFIED = "verified"
    """All records that it needs are there."""
    TEMPORARY_FAILURE = "temporary_failure"
    """It was verified, and now a record is missing or wrong; mail goes on for three days."""
    FAILED = "failed"
    """A record has been missing or wrong for three days."""


class KeyState(StrEnum):
    """What a DKIM key is for (``domain_keys.state``)."""

    NEXT = "next"
    """Waits for its record in the DNS."""
    ACTIVE = "active"
    """Mail is signed with it."""
    RETIRED = "retired"
    """Mail was signed with it and may still be on its way; its private half is gone, its record has to stay."""


class WebhookStatus(StrEnum):
    """Whether a webhook is told of anything (``webhooks.status``)."""

    ENABLED = "enabled"
    DISABLED = "disabled"


class WebhookState(StrEnum):
    """What became of telling a webhook of one event (``webhook_deliveries.state``)."""

    PENDING = "pending"
    """Not tried yet."""
    ATTEMPTING = "attempting"
    """Tried, will be tried again."""
    SUCCESS = "success"
    """The receiver answered 2xx."""
    FAILED = "failed"
    """Given up."""


class BreakerState(StrEnum):
    """How it stands with the share of a tenant's mail that bounces or draws complaints (``breakers.state``)."""

    FINE = "fine"
    """It is below both marks, or too little mail to tell."""
    WARNED = "warned"
    """Above the first mark: people are told, and mail goes on."""
    PAUSED = "paused"
    """Above the second mark: bulk mail waits until a person resumes it."""


class PrivacyKind(StrEnum):
    """What is asked for about an address (``privacy_requests.kind``)."""

    EXPORT = "export"
    """All that is stored of it, as a file."""
    ERASURE = "erasure"
    """That nothing personal of it stays."""


class PrivacyState(StrEnum):
    """How far such a request is (``privacy_requests.state``)."""

    QUEUED = "queued"
    """Waits for a worker."""
    IN_PROGRESS = "in_progress"
    """A worker has it, or it waits until mail to the address has ended."""
    COMPLETED = "completed"
    FAILED = "failed"
    """A worker gave it up; asking again goes on."""
