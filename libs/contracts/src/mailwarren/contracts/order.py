"""An order for ingest's workers: work that nobody waits for, as an ordinary Celery task on ``ops.tasks``.

An order says what to do, and at most the id of what it is about: what it works on stands in the database, so that a
repeat, or a worker that takes it over, finds what is still to be done. It may come twice, and its work has to allow for
that.
"""

from enum import StrEnum
from uuid import UUID

import msgspec


class Work(StrEnum):
    """What a worker of this version can do; the names are those of the Celery tasks."""

    HEARTBEAT = "ops.heartbeat"
    """Nothing but to say that scheduler, broker, worker and database work together."""
    RETENTION = "ops.retention"
    """Delete what is past its time."""
    IMPORT = "ops.import"
    """Go on with an import of contacts, the subject."""
    BROADCAST = "ops.broadcast"
    """Make the mails of a broadcast, the ``subject``, and publish them."""
    PRIVACY = "ops.privacy"
    """Go on with an export or an erasure of an address, the subject."""
    DOMAINS = "ops.domains"
    """Look at the DNS records of sending domains, and let keys take each other's place."""


class Order(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One piece of work, and how often it was tried."""

    id: UUID
    """The id of the Celery task; the same in every try."""
    work: str
    """A :class:`Work`, or one of a newer version."""
    due_at: float
    """Unix seconds: when it was to be done."""
    attempt: int = 1
    subject: UUID | None = None
    """The row that the work is about; None for work that has none, such as retention."""
