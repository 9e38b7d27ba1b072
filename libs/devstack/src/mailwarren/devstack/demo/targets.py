"""Where the parts of the running system are, as ``.local/env`` says it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from mailwarren.contracts.topology import Topology
from mailwarren.devstack.errors import DevstackError
from mailwarren.store.engine import dsn

_REQUIRED = ("API_URL", "API_KEY", "SINK_URL", "AMQP_URL", "DATABASE_URL")
_RELAYS = ("SMTP_URL", "MAILWARREN_SMTP_URL")


@dataclass(frozen=True, slots=True)
class Targets:
    """Addresses and secrets. ``api_url`` ends in ``/v1``; ``management_url`` holds user and password."""

    api_url: str
    api_key: str = field(repr=False)
    sink_url: str
    amqp_url: str = field(repr=False)
    database_url: str = field(repr=False)
    management_url: str | None = field(repr=False)
    topology: Topology

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Targets":
        """What ``MAILWARREN_*`` says.

        Raises:
            DevstackError: something is missing or cannot be used, or a real relay is set.
        """
        if relays := [name for name in _RELAYS if environment.get(name)]:
            raise DevstackError(
                f"{relays[0]} is set, but the demo's 10,000 recipients are inventions that no real mail may go to. "
                "Unset it; `make up SMTP_URL=…` and `make send TO=…` send real mail."
            )
        values = {name: environment.get(f"MAILWARREN_{name}", "") for name in _REQUIRED}
        if missing := [f"MAILWARREN_{name}" for name, value in values.items() if not value]:
            raise DevstackError(f"{', '.join(missing)} not set: `make up` writes them to .local/env.")
        try:
            dsn(values["DATABASE_URL"])
            scale = float(environment.get("MAILWARREN_RETRY_SCALE") or 1)
        except ValueError as error:
            raise DevstackError(f"MAILWARREN_DATABASE_URL or MAILWARREN_RETRY_SCALE: {error}.") from error
        return cls(
            api_url=values["API_URL"].rstrip("/"),
            api_key=values["API_KEY"],
            sink_url=values["SINK_URL"].rstrip("/"),
            amqp_url=values["AMQP_URL"],
            database_url=values["DATABASE_URL"],
            management_url=environment.get("MAILWARREN_MANAGEMENT_URL") or None,
            topology=Topology(environment.get("MAILWARREN_AMQP_PREFIX", ""), scale),
        )

    @property
    def site(self) -> str:
        """The API's address without ``/v1``: documentation, metrics and health are there."""
        return self.api_url.removesuffix("/v1")

    @property
    def vhost(self) -> str:
        """The virtual host of the AMQP URL (``/`` when it names none)."""
        return unquote(urlsplit(self.amqp_url).path[1:]) or "/"

    @property
    def management(self) -> tuple[str, tuple[str, str]] | None:
        """The management API's address without credentials, and user and password."""
        if self.management_url is None:
            return None
        parts = urlsplit(self.management_url)
        netloc = parts.netloc.rpartition("@")[2]
        credentials = (unquote(parts.username or "guest"), unquote(parts.password or "guest"))
        return f"{parts.scheme}://{netloc}{parts.path}".rstrip("/"), credentials
