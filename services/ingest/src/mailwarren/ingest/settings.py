"""Ingest's settings: what all services share, and the API's own."""

from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from mailwarren.ingest.adapters.blob_store import check_url
from mailwarren.ingest.adapters.dns import nameserver
from mailwarren.ingest.domain.attachments import BLOCKED
from mailwarren.ingest.domain.dns_records import Site
from mailwarren.ingest.domain.link_keys import split_keys
from mailwarren.ingest.domain.spf import wanted_terms
from mailwarren.ingest.domain.tracking_links import TrackingLinks, own_host
from mailwarren.ingest.domain.unsubscribe_links import Links
from mailwarren.runtime.settings import Settings as Shared
from mailwarren.store.engine import dsn

LEAST_TOKEN = 16
"""Characters of a token that nobody guesses."""
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
    max_import: int = Field(default=200 * 2**20, ge=1024)
    """Bytes of an upload of contacts; above: 413."""
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
    blob_url: str | None = None
    """Where attachments are kept: ``s3://bucket/prefix``, ``gs://…``, ``az://…``, or ``file:///folder`` that all API
    processes and workers share. Without it attachments are refused."""
    internal_host: str = "0.0.0.0"  # noqa: S104 - senders come from other pods
    internal_port: int = Field(default=8081, ge=0, le=65535)
    """HTTP for our own services; 0 takes a free port, which the log names."""
    internal_token: SecretStr | None = None
    """Its bearer token, 16 characters at least. Without it there is no such port, and attachments are refused."""
    public_url: str = ""
    """What stands before ``/v1`` in download links, and before ``/u`` in links to unsubscribe. Empty: the host that the
    caller named, and no links to unsubscribe."""
    link_keys: SecretStr | None = None
    """Secrets that links to unsubscribe are signed with, 16 characters at least each, separated by spaces: the first
    signs, all are taken. Without one no such links are made. Links in old mails need the key that signed them."""
    tracking_host: str = Field(default="", pattern=r"^([A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+)?$")
    """Host name that the tracking hosts of domains are aliases (CNAME) of. Empty: that of ``public_url``."""
    tracking_ips: bool = False
    """Keep the addresses of those who open mail or click in it, and tell webhooks of them."""
    max_attachments: int = Field(default=20, ge=1, le=100)
    """Files of an email."""
    max_attachments_size: int = Field(default=40 * 2**20, ge=1024)
    """Bytes of them together, in base64."""
    blocked_extensions: str = BLOCKED
    """Extensions of files that are refused, with spaces between."""
    api_logs_days: int = Field(default=7, ge=0, le=3650)
    """Days that calls of the API are kept for people to look at; 0: none is kept."""
    large_bodies: int = Field(default=128 * 2**20, ge=2**20)
    """Bytes of memory for requests that are longer than ``max_body``, each counted twice; others wait."""
    remote_within: float = Field(default=15.0, gt=0)
    """Seconds for the files of a call that are fetched from their addresses."""
    remote_private: bool = False
    """Fetch from private addresses too. Whoever has an API key can then read what this process can reach."""
    data_keys: Path | None = None
    """A file of keys, 32 bytes in base64 each, one a line, that secrets in the database are encrypted with (private
    DKIM keys, secrets of webhooks): the first encrypts, all decrypt. Without it domains and webhooks are refused."""
    private_webhooks: bool = False
    """Let webhooks be at private addresses, and without TLS. Tell the same to ``tracker webhooks``."""
    require_verified_domains: bool = False
    """Refuse mail from domains that are not verified."""
    resolver: str | None = None
    """``address:port`` of the DNS resolver that the records of domains are looked up with; None is the system's."""
    spf: str = ""
    """What passes this system's servers in SPF, which domains are to publish: ``include:_spf.mail.example.com``, or
    ``ip4:192.0.2.10``. Without it SPF is not looked at."""
    bounce_host: str = Field(default="", pattern=r"^([A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+)?$")
    """Host name of what takes bounces, for the MX records of return paths. Without it domains have no return path, and
    mail goes out with the From address as its envelope sender."""
    dkim_overlap_days: float = Field(default=7.0, ge=1, le=365)
    """Days for which the record of a DKIM key has to stay after another took its place: mail that it signed may still
    be on its way."""
    drain: float = Field(default=20.0, gt=0)
    """Seconds for which requests may go on after SIGTERM."""

    @field_validator("blob_url", "internal_token", "data_keys", "resolver", "link_keys", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return value or None

    @field_validator("blob_url")
    @classmethod
    def _is_store(cls, value: str | None) -> str | None:
        return None if value is None else check_url(value)

    @field_validator("internal_token")
    @classmethod
    def _is_long(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < LEAST_TOKEN:
            raise ValueError(f"give it {LEAST_TOKEN} characters or more")
        return value

    @field_validator("resolver")
    @classmethod
    def _is_server(cls, value: str | None) -> str | None:
        if value is not None:
            nameserver(value)
        return value

    @field_validator("spf")
    @classmethod
    def _is_spf(cls, value: str) -> str:
        wanted_terms(value)
        return value

    @property
    def site(self) -> Site:
        """This system, as the records of domains name it."""
        host = own_host(self.public_url, self.tracking_host)
        return Site(tuple(wanted_terms(self.spf)), self.bounce_host.lower(), host)

    @field_validator("link_keys")
    @classmethod
    def _are_keys(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            split_keys(value.get_secret_value())
        return value

    def unsubscribe_links(self) -> Links:
        """What makes links to unsubscribe."""
        return Links(self.public_url, self._split_link_keys())

    def tracking_links(self) -> TrackingLinks:
        """What makes tracked links."""
        return TrackingLinks(self.public_url, self._split_link_keys())

    def _split_link_keys(self) -> list[str]:
        return split_keys(self.link_keys.get_secret_value()) if self.link_keys else []

    @field_validator("public_url")
    @classmethod
    def _without_slash(cls, value: str) -> str:
        return value.rstrip("/").removesuffix("/v1")

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
    """Seconds after its time from which a scheduled email or broadcast is held for a person instead of sent."""
    heartbeat_every: float = Field(default=60.0, ge=1)
    """Seconds between two heartbeats from the scheduler through the broker and a worker to the database."""
    retention_every: float = Field(default=3600.0, ge=1)
    """Seconds between two runs of retention."""
    retention_batch: int = Field(default=500, ge=1, le=10_000)
    """Rows that retention deletes in one transaction, about."""
    emails_days: int = Field(default=90, ge=0, le=36_500)
    """Days that emails, their deliveries and their contents are kept after their last delivery ended; 0: for ever."""
    domains_every: float = Field(default=60.0, ge=1)
    """Seconds between two looks for domains whose DNS records are to be looked at."""
    stats_days: int = Field(default=400, ge=0, le=36_500)
    """Days that counts per minute are kept; 0: for ever."""

    imports_at_once: int = Field(default=2, ge=1, le=100)
    """Imports that all workers together have in hand, of different tenants; others wait."""
    imports_days: int = Field(default=30, ge=0, le=36_500)
    """Days that imports and their reports are kept after their end; 0: for ever. Files go within an hour."""
    privacy_days: int = Field(default=400, ge=0, le=36_500)
    """Days that exports and erasures of addresses can be read after their end, as the proof of them; 0: for ever."""
    export_days: int = Field(default=7, ge=1, le=365)
    """Days that the file of an export can be downloaded."""
    attachments_days: int = Field(default=90, ge=0, le=36_500)
    """Days that attachments are kept after their email was accepted, if its deliveries have ended; 0: for ever."""
    blobs_days: int = Field(default=1, ge=1, le=36_500)
    """Days that the blob store keeps what no email refers to."""

    @field_validator("emails_days", "stats_days", "attachments_days")
    @classmethod
    def _outlives_mail(cls, value: int) -> int:
        if 0 < value < LEAST_DAYS:
            raise ValueError(f"give 0, for ever, or {LEAST_DAYS} and more: mail may be on its way that long")
        return value
