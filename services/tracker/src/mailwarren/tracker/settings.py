"""The tracker's settings, from the environment (``MAILWARREN_…``)."""

from pydantic import Field, SecretStr, field_validator

from mailwarren.runtime.settings import Settings
from mailwarren.store.engine import dsn


class TrackerSettings(Settings):
    """What ``tracker consume`` can be told."""

    database_url: SecretStr = SecretStr("postgresql://mailwarren@127.0.0.1:5432/mailwarren")
    """Postgres: ``postgresql://user:password@host:port/database``."""
    tracker_batch_rows: int = Field(default=1000, ge=1, le=10_000)
    """Deliveries and events in one transaction, about: a batch ends with the message that reaches it."""
    tracker_batch_wait: float = Field(default=0.2, ge=0, le=5)
    """Seconds from a batch's first message after which it is written as it is, under load: else it waits 5 ms."""
    tracker_prefetch: int = Field(default=400, ge=1, le=10_000)
    """Messages in hand per queue, at most: several batches of bulk parcels, most of one of single mails."""
    tracker_octets: int = Field(default=64 * 1024 * 1024, ge=1024 * 1024)
    """Of messages in hand, about; beyond it fewer messages are taken at a time."""
    tracker_events_days: int = Field(default=30, ge=1, le=3650)
    """Days that events are kept; then the partition of the day is dropped."""
    settle_timeout: float = Field(default=10.0, gt=0)
    """The senders' setting: seconds that a sender waits for the answer to a question."""
    dot_timeout: float = Field(default=300.0, gt=0)
    """The senders' setting, the longest of all: seconds that a sender waits for the reply to a final dot."""

    @field_validator("database_url")
    @classmethod
    def _is_postgres(cls, value: SecretStr) -> SecretStr:
        dsn(value.get_secret_value())
        return value
