"""Settings: from the environment, and clear about what is wrong."""

import pytest
from pydantic import ValidationError

from mailwarren.runtime.settings import Settings


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"MAILWARREN_{name.upper()}", raising=False)


def test_there_is_a_default_for_everything() -> None:
    settings = Settings()
    assert (settings.amqp_prefix, settings.retry_scale, settings.metrics_port) == ("", 1.0, 9464)


def test_values_come_from_the_environment(monkeypatch) -> None:
    monkeypatch.setenv("MAILWARREN_AMQP_URL", "amqps://u:p@broker:5671/mailwarren")
    monkeypatch.setenv("MAILWARREN_RETRY_SCALE", "0.01")
    monkeypatch.setenv("mailwarren_metrics_port", "0")
    monkeypatch.setenv("MAILWARREN_LOG_LEVEL", "debug")
    monkeypatch.setenv("MAILWARREN_SOMEBODY_ELSES", "x")
    settings = Settings()
    assert settings.amqp_url.get_secret_value() == "amqps://u:p@broker:5671/mailwarren"
    assert (settings.retry_scale, settings.metrics_port, settings.log_level) == (0.01, 0, "DEBUG")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("METRICS_PORT", "http", "valid integer"),
        ("METRICS_PORT", "70000", "less than or equal to 65535"),
        ("RETRY_SCALE", "0", "greater than 0"),
        ("RETRY_SCALE", "2", "less than or equal to 1"),
        ("RETRY_SCALE", "nan", "less than or equal to 1"),
        ("AMQP_PREFIX", "a b", "match pattern"),
        ("AMQP_PREFIX", "x" * 41, "match pattern"),
        ("LOG_LEVEL", "loud", "'DEBUG', 'INFO'"),
        ("AMQP_URL", "broker:5672", "amqp://user:password@host:port/vhost"),
        ("AMQP_URL", "http://u:hunter2@broker/", "amqp://user:password@host:port/vhost"),
        ("AMQP_URL", "amqp://", "amqp://user:password@host:port/vhost"),
        ("AMQP_URL", "", "amqp://user:password@host:port/vhost"),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(monkeypatch, name: str, value: str, said: str) -> None:
    monkeypatch.setenv(f"MAILWARREN_{name}", value)
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert name.lower() in str(caught.value)
    assert said in str(caught.value)


def test_all_that_is_wrong_is_said_at_once_and_no_secret(monkeypatch) -> None:
    monkeypatch.setenv("MAILWARREN_AMQP_URL", "http://u:hunter2@broker/")
    monkeypatch.setenv("MAILWARREN_METRICS_PORT", "x")
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert "amqp_url" in str(caught.value)
    assert "metrics_port" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_the_broker_url_is_a_secret() -> None:
    settings = Settings(amqp_url="amqp://u:hunter2@broker/")
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(settings.model_dump())
