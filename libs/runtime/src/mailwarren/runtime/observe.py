"""What a service shows of itself beside its metrics: logs always, error reports and spans by setting."""

from mailwarren.runtime import tracing
from mailwarren.runtime.errors import report_errors
from mailwarren.runtime.logs import configure_logging
from mailwarren.runtime.settings import Settings


def observe(service: str, settings: Settings) -> None:
    """Begin, as the settings say. A second call sets the log up again (Celery resets it) and starts nothing twice."""
    configure_logging(service, settings.log_level)
    if settings.sentry_dsn is not None:
        report_errors(service, settings.sentry_dsn.get_secret_value())
    if settings.otlp_endpoint is not None and not tracing.recording():
        from mailwarren.runtime.otlp import OtlpSpans

        tracing.record_spans(OtlpSpans(service, settings.otlp_endpoint.get_secret_value()))
