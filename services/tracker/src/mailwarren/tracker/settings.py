"""The tracker's settings, from the environment (``MAILWARREN_…``)."""

from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from mailwarren.runtime.settings import Settings
from mailwarren.store.engine import dsn
from mailwarren.tracker.domain.breaker import Marks


class TrackerSettings(Settings):
    """What ``tracker consume`` can be told, and ``tracker webhooks`` of the database."""

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
    breaker_warn: float = Field(default=0.05, ge=0, le=1)
    """The part of a tenant's mail of the last 24 hours that bounced or drew complaints at which people are told; 0:
    never."""
    breaker_pause: float = Field(default=0.10, ge=0, le=1)
    """The same at which its bulk mail is paused; 0: never."""
    breaker_least: int = Field(default=1000, ge=1)
    """Mails that were delivered or bounced in these hours below which nothing is done."""
    settle_timeout: float = Field(default=10.0, gt=0)
    """The senders' setting: seconds that a sender waits for the answer to a question."""
    dot_timeout: float = Field(default=300.0, gt=0)
    """The senders' setting, the longest of all: seconds that a sender waits for the reply to a final dot."""

    @property
    def breaker(self) -> Marks:
        """When too much of a tenant's mail bounces."""
        return Marks(self.breaker_warn, self.breaker_pause, self.breaker_least)

    @field_validator("database_url")
    @classmethod
    def _is_postgres(cls, value: SecretStr) -> SecretStr:
        dsn(value.get_secret_value())
        return value


class WebhookSettings(TrackerSettings):
    """What ``tracker webhooks`` can be told beside what it shares with ``tracker consume``."""

    data_keys: Path | None = None
    """A file of keys, as ingest's: what the endpoints' secrets are encrypted with."""
    private_webhooks: bool = False
    """Connect to private addresses too. Whoever has an API key can then send requests into this process's network."""
    webhooks_timeout: float = Field(default=10.0, gt=0, le=60)
    """Seconds for a try."""
    webhooks_each: int = Field(default=10, ge=1, le=1000)
    """Events on their way to one endpoint at once, from each process."""
    webhooks_all: int = Field(default=500, ge=2, le=10_000)
    """Events on their way to all endpoints at once, from each process."""
    webhooks_interval: float = Field(default=0.25, gt=0, le=10)
    """Seconds between two looks for what is due while nothing was."""
    webhooks_days: int = Field(default=30, ge=4, le=36_500)
    """Days that events of webhooks are kept, with their tries."""
    webhooks_give_up_days: float = Field(default=5.0, gt=0, le=365)
    """Days of nothing but failures after which an endpoint is disabled."""

    @field_validator("data_keys", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return value or None
