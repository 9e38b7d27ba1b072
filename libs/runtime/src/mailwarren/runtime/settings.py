"""Settings come from the environment, all under ``MAILWARREN_``; a service adds its own in a subclass."""

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What all services share. Unknown variables are ignored, wrong values stop the start with a clear message."""

    model_config = SettingsConfigDict(env_prefix="MAILWARREN_", extra="ignore")

    amqp_url: SecretStr = Field(default=SecretStr("amqp://guest:guest@127.0.0.1:5672/mailwarren"))
    """The broker, with its virtual host."""
    amqp_prefix: str = Field(default="", pattern=r"^[A-Za-z0-9._-]{0,40}$")
    """Stands in front of every exchange and queue name."""
    retry_scale: float = Field(default=1.0, gt=0, le=1)
    """Shortens all rungs and retry budgets; 1 outside of demos and tests."""
    metrics_host: str = "0.0.0.0"  # noqa: S104 - Prometheus comes from another pod
    metrics_port: int = Field(default=9464, ge=0, le=65535)
    """``/metrics``, ``/healthz`` and ``/readyz``; 0 takes a free port."""
    log_level: str = "INFO"
