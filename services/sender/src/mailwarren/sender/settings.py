"""The sender's settings, from ``MAILWARREN_*``."""

from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from mailwarren.runtime.settings import Settings


class SenderSettings(Settings):
    """Beside the common ones."""

    smtp_url: SecretStr | None = None
    """The smarthost, ``smtp+starttls://user:pass@host:587``; without it (or empty) mail goes to the recipients' MX."""
    resolver: str | None = None
    """``address:port`` of the DNS resolver; None is the system's."""
    dnssec_resolver: str | None = None
    """``address:port`` of a DNS resolver that validates DNSSEC and is reached over a trusted way; it is then asked
    everything, and what it says of mail hosts' certificates is obeyed (DANE)."""
    mta_sts: bool = True
    """Whether MTA-STS policies of recipients' domains are fetched and obeyed."""
    mx_port: int = 25
    private_mx: bool = False
    """Whether to send to mail hosts that have no public address."""
    helo: str | None = None
    """The name said in EHLO; None is this host's."""
    egress_file: Path | None = None
    """The egresses: addresses that mail leaves from, their HELO names, pools and warm-up; read again when it changes.
    Without it mail leaves as the host sends it, under ``helo``."""
    egress: str = ""
    """Those egresses of the file that this sender has, with commas between; empty: all."""
    egress_gate: bool = False
    """Whether an egress whose checks fail (reverse DNS, HELO, SPF) sends nothing, and the sender is not ready."""
    egress_check_every: float = Field(default=900.0, gt=0)
    """Seconds between two looks at an egress in the DNS."""
    tls_ca_file: Path | None = None
    """More roots that server certificates may come from."""
    shaping_file: Path | None = None
    """Rows that are laid over ``rules/shaping.toml``; read again when it changes."""
    replies_file: Path | None = None
    """Reply rules that are tried before those of ``rules/replies.toml``; read again when it changes."""
    connections: int = Field(default=20, ge=1, le=10_000)
    """To the smarthost at once; providers have limits of their own (``rules/shaping.toml``)."""
    messages_per_connection: int = Field(default=100, ge=1)
    """To the smarthost, before the connection is closed."""
    mails_behind: int = Field(default=3, ge=0, le=10)
    """Mails that a busy connection to the smarthost is given beside the one under way: where the server offers
    PIPELINING, an envelope then follows the data before it in one write. 0 waits for each final reply."""
    fleet: str = Field(default="", max_length=100)
    """The fleet's name in metrics; empty: the part before the ``@`` of the worker's name (``-n``)."""
    prefetch: int = Field(default=50, ge=1, le=10_000)
    """Parcels, for each queue consumed."""
    in_flight: int = Field(default=500, ge=1)
    """Deliveries worked on at once, over all queues."""
    held: int | None = Field(default=None, ge=1)
    """Deliveries that wait for slow sites, beside those; None is four times as many."""
    settle_timeout: float = Field(default=10.0, gt=0)
    """Seconds to wait for the tracker's answer before the parcel goes back to the ladder."""
    settle_patience: float = Field(default=900.0, ge=0)
    """Seconds after which an unanswered parcel is sent all the same (``on_unknown: resend`` only)."""
    settle_patience_high: float = Field(default=60.0, ge=0)
    drain_grace: float = Field(default=330.0, ge=0)
    """Seconds that a warm shutdown waits for deliveries in flight; above the final-dot timeout."""
    dot_timeout: float = Field(default=300.0, gt=0)
    """Seconds to wait for the reply to the final dot: too short sends twice, too long holds a connection."""
    heartbeat_file: Path | None = None
    internal_url: str | None = None
    """Ingest's internal HTTP, ``http://host:port``: where attachments and DKIM keys come from. Without it such mail
    waits."""
    internal_token: SecretStr | None = None
    """Its bearer token."""
    blob_folder: Path | None = None
    """Where attachments are cached, for this process alone; None is a new folder among the temporary files."""
    blob_cache: int = Field(default=512 * 2**20, ge=2**20)
    """Bytes of that folder at most; attachments of the parcels in hand together, too (a larger one is alone)."""
    dkim_threads: int = Field(default=2, ge=1, le=64)
    """Threads that sign, beside the event loop; more than the pod has cores are of no use."""
    dkim_domains: int = Field(default=10_000, ge=1)
    """Domains whose keys are kept in memory, at some kilobytes each; of more, the one unused for longest is asked for
    again when it has mail."""
    dkim_keep: float = Field(default=86400.0, ge=0)
    """Seconds for which known keys go on while ingest cannot be asked, beyond the minutes for which they are fresh."""

    @property
    def egresses(self) -> tuple[str, ...]:
        """The egresses that this sender has; none stands for all."""
        return tuple(name for part in self.egress.split(",") if (name := part.strip()))

    @field_validator(
        "shaping_file",
        "egress_file",
        "replies_file",
        "internal_url",
        "internal_token",
        "blob_folder",
        "dnssec_resolver",
        mode="before",
    )
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return value or None
