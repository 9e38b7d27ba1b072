"""Settings come from the environment, all under ``MAILWARREN_``; a service adds its own in a subclass."""

import sys
from typing import Literal, TypeVar
from urllib.parse import SplitResult, urlsplit

import structlog
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from mailwarren.runtime.logs import configure_logging

PREFIX = "MAILWARREN_"
S = TypeVar("S", bound="Settings")
log = structlog.get_logger()


class Settings(BaseSettings):
    """What all services share. Unknown variables are ignored, wrong values stop the start with a clear message.

    Raises:
        pydantic.ValidationError: names the setting and what is wrong with it, never the value, which may be a secret.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="ignore", hide_input_in_errors=True, populate_by_name=True
    )

    amqp_url: SecretStr = Field(default=SecretStr("amqp://guest:guest@127.0.0.1:5672/mailwarren"))
    """The broker, with its virtual host."""
    amqp_prefix: str = Field(default="", pattern=r"^[A-Za-z0-9._-]{0,40}$")
    """Stands in front of every exchange and queue name."""
    retry_scale: float = Field(default=1.0, gt=0, le=1)
    """Shortens all rungs and retry budgets; 1 outside of demos and tests."""
    metrics_host: str = "0.0.0.0"  # noqa: S104 - Prometheus comes from another pod
    metrics_port: int = Field(default=9464, ge=0, le=65535)
    """``/metrics``, ``/healthz`` and ``/readyz``; 0 takes a free port."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    sentry_dsn: SecretStr | None = Field(default=None, validation_alias="SENTRY_DSN")
    """Where unexpected exceptions are reported, ``https://key@host/project``; none without it."""
    otlp_endpoint: SecretStr | None = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    """OTLP over HTTP, ``http://collector:4318``: where spans go; none are made without it."""

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("sentry_dsn", "otlp_endpoint", mode="before")
    @classmethod
    def _empty_is_off(cls, value: object) -> object:
        return value or None

    @field_validator("sentry_dsn")
    @classmethod
    def _is_dsn(cls, value: SecretStr | None) -> SecretStr | None:
        url = None if value is None else _http_url(value)
        if url is not None and not (url.username and url.path.rpartition("/")[2].isdigit()):
            raise ValueError("give it as https://key@host/project")
        return value

    @field_validator("otlp_endpoint")
    @classmethod
    def _is_http(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            _http_url(value)
        return value

    @field_validator("amqp_url")
    @classmethod
    def _is_amqp(cls, value: SecretStr) -> SecretStr:
        # Anything else would only show as a connection that never comes up.
        url = urlsplit(value.get_secret_value())
        try:
            usable = url.scheme in {"amqp", "amqps"} and bool(url.hostname) and url.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise ValueError("give it as amqp://user:password@host:port/vhost")
        return value


def _http_url(value: SecretStr) -> SplitResult:
    url = urlsplit(value.get_secret_value())
    try:
        usable = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("give it as http://host:port or https://host:port")
    return url


def _variable(kind: type[Settings], place: str) -> str:
    """The variable of a setting; a few have names that all programs share."""
    shared = {field.validation_alias for field in kind.model_fields.values()}
    return place if place in shared else PREFIX + place.upper()


def load(kind: type[S], service: str) -> S:
    """A service's settings; a wrong one ends the process with one line of the log that names it, never its value.

    Raises:
        SystemExit: with status 1.
    """
    try:
        return kind()
    except ValidationError as error:
        configure_logging(service)
        wrong = {_variable(kind, str(one["loc"][0])) if one["loc"] else PREFIX: one["msg"] for one in error.errors()}
        event = f"{service}.settings.wrong"
        log.critical(event, reasons=wrong)
    sys.exit(1)
