"""Ingest's settings: what all services share, and the API's own."""

from pydantic import Field, SecretStr, field_validator

from mailwarren.runtime.settings import Settings as Shared
from mailwarren.store.engine import dsn

LEAST_DAYS = 4
"""The database refuses to forget what is younger than three days."""


class Settings(Shared):
    """From ``MAILWARREN_*`` variables."""

    database_url: SecretStr = SecretStr("postgresql://mailwarren@127.0.0.1:5432/mailwarren")
    """Postgres: ``postgresql://user:password@host:port/database``."""
    database_pool: int = Field(default=10, ge=2, le=100)
    """Connections to Postgres at most, for each process."""
    api_host: str = "0.0.0.0"  # noqa: S104 - clients come from other pods
    api_port: int = Field(default=8080, ge=0, le=65535)
    """0 takes a free port, which the log names."""
    max_body: int = Field(default=5 * 1024 * 1024, ge=1024)
    """Bytes of a request's body; above: 413."""
    max_depth: int = Field(default=200_000, ge=0)
    """Messages in a send queue above which mail for it gets 503."""
    max_tracker_depth: int = Field(default=500_000, ge=0)
    """Messages that wait for the tracker, in all its queues, above which all mail gets 503."""
    depth_interval: float = Field(default=1.0, gt=0)
    """Seconds between two looks at the queues."""
    management_url: SecretStr | None = None
    """RabbitMQ's management API, ``http://user:password@host:15672``: its memory and disk stop mail at 80 % of the
    alarm instead of at the alarm. Optional."""
    read_wait: float = Field(default=2.0, ge=0)
    """Seconds for which a read waits for the tracker before it says 404."""
    drain: float = Field(default=20.0, gt=0)
    """Seconds for which requests may go on after SIGTERM."""

    @field_validator("database_url")
    @classmethod
    def _is_postgres(cls, value: SecretStr) -> SecretStr:
        dsn(value.get_secret_value())
        return value


class OpsSettings(Settings):
    """Those of ``ingest worker`` and ``ingest scheduler``."""

    worker_name: str = Field(default="worker", pattern=r"^[A-Za-z0-9_.-]{1,60}$")
    """Before the ``@`` and the host in the name that Flower shows."""
    worker_concurrency: int = Field(default=4, ge=1, le=100)
    """Orders carried out at once, each in a thread of its own."""
    scheduler_interval: float = Field(default=1.0, gt=0, le=60)
    """Seconds between two looks for what is due."""
    schedule_overdue: float = Field(default=3600.0, ge=60)
    """Seconds after its time from which a scheduled email is held for a person instead of sent."""
    heartbeat_every: float = Field(default=60.0, ge=1)
    """Seconds between two heartbeats from the scheduler through the broker and a worker to the database."""
    retention_every: float = Field(default=3600.0, ge=1)
    """Seconds between two runs of retention."""
    retention_batch: int = Field(default=500, ge=1, le=10_000)
    """Rows that retention deletes in one transaction, about."""
    emails_days: int = Field(default=90, ge=0, le=36_500)
    """Days that emails, their deliveries and their contents are kept after their last delivery ended; 0: for ever."""
    stats_days: int = Field(default=400, ge=0, le=36_500)
    """Days that counts per minute are kept; 0: for ever."""

    @field_validator("emails_days", "stats_days")
    @classmethod
    def _outlives_mail(cls, value: int) -> int:
        if 0 < value < LEAST_DAYS:
            raise ValueError(f"give 0, for ever, or {LEAST_DAYS} and more: mail may be on its way that long")
        return value
