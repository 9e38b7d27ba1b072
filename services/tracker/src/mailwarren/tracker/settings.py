"""The tracker's settings, from the environment (``MAILWARREN_…``)."""

from pydantic import Field, SecretStr

from mailwarren.runtime.settings import Settings


class TrackerSettings(Settings):
    """What ``tracker consume`` can be told."""

    database_url: SecretStr = SecretStr("postgresql://mailwarren@127.0.0.1:5432/mailwarren")
    """Postgres: ``postgresql://user:password@host:port/database``."""
    tracker_batch_rows: int = Field(default=1000, ge=1, le=10_000)
    """Deliveries and events in one transaction, about: a batch ends with the message that reaches it."""
    tracker_batch_wait: float = Field(default=0.05, ge=0, le=5)
    """Seconds from a batch's first message after which it is written as it is."""
    tracker_prefetch: int = Field(default=200, ge=1, le=10_000)
    """Messages in hand per queue: several batches of bulk parcels, most of one of single mails."""
    tracker_events_days: int = Field(default=30, ge=1, le=3650)
    """Days that events are kept; then the partition of the day is dropped."""
