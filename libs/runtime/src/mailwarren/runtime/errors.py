"""Reports of unexpected exceptions to Sentry, or to what speaks its protocol. Off, and not imported, without a DSN.

What is logged at ``error`` or above is reported, and what ends the process or a thread. The same error goes at most
once a second. Reports are sent by a thread of the SDK's; what it cannot send is dropped.
"""

import logging
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, cast

import structlog

from mailwarren.runtime.scrub import TAGS, scrub

REST = 1.0
"""Seconds for which an error that was just reported is not reported again."""
FLUSH = 2.0
_QUIET = ("sentry_sdk", "opentelemetry", "urllib3")
"""What reports and spans are sent with: its failures, reported, would make more of them."""

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


class _Sdk(Protocol):
    def capture_event(self, event: Any, hint: Any) -> Any: ...
    def flush(self, timeout: float) -> None: ...


class Reporter(logging.Handler):
    """A log handler that reports."""

    def __init__(self, service: str, dsn: str) -> None:
        super().__init__(logging.ERROR)
        import sentry_sdk
        from sentry_sdk.integrations.atexit import AtexitIntegration
        from sentry_sdk.integrations.dedupe import DedupeIntegration
        from sentry_sdk.integrations.excepthook import ExcepthookIntegration
        from sentry_sdk.integrations.threading import ThreadingIntegration

        self._service = service
        self._reported: dict[tuple[str, str], float] = {}
        sentry_sdk.init(
            dsn=dsn,
            before_send=self._before_send,
            # Those that find frameworks by themselves would wrap every request and task, and read them.
            default_integrations=False,
            auto_enabling_integrations=False,
            integrations=[
                DedupeIntegration(),
                ExcepthookIntegration(),
                ThreadingIntegration(propagate_scope=False),
                AtexitIntegration(callback=lambda _pending, _timeout: None),
            ],
            include_local_variables=False,
            include_source_context=False,
            send_default_pii=False,
            max_request_body_size="never",
            max_breadcrumbs=0,
            auto_session_tracking=False,
            send_client_reports=False,
            spotlight=False,
            shutdown_timeout=FLUSH,
        )
        self._sdk = cast("_Sdk", sentry_sdk)

    def emit(self, record: logging.LogRecord) -> None:
        """Report a line of the log."""
        if record.name.startswith(_QUIET):
            return
        try:
            said: Mapping[str, Any] = record.msg if isinstance(record.msg, dict) else {}
            self.report(
                str(said.get("event") or record.name),
                _exc_info(said.get("exc_info") or record.exc_info),
                said,
                level="fatal" if record.levelno >= logging.CRITICAL else "error",
            )
        except Exception:  # noqa: BLE001 - logging's own way to say that a handler failed
            self.handleError(record)

    def report(self, name: str, exc_info: ExcInfo | None, said: Mapping[str, Any], level: str = "error") -> None:
        """Report what happened, under the name of our event."""
        now = time.monotonic()
        key = (name, exc_info[0].__name__ if exc_info else "")
        if now - self._reported.get(key, -REST) < REST:
            return
        self._reported[key] = now
        from sentry_sdk.utils import event_from_exception

        event: dict[str, Any] = {"message": name}
        hint: dict[str, Any] = {}
        if exc_info is not None:
            made, hint = event_from_exception(exc_info, mechanism={"type": "logging", "handled": True})
            event = dict(made)
        bound = {**structlog.contextvars.get_contextvars(), **said, "event": name}
        event |= {"level": level, "logger": "mailwarren", "tags": {tag: bound[tag] for tag in TAGS if tag in bound}}
        self._sdk.capture_event(event, hint)

    def finish(self) -> None:
        """Send what waits, before the process ends without its exit handlers."""
        self._sdk.flush(FLUSH)

    def _before_send(self, event: Any, _hint: Any) -> Any:
        clean = scrub(event)
        clean["tags"]["service"] = self._service
        return clean


_reporter: Reporter | None = None


def report_errors(service: str, dsn: str) -> None:
    """Report from now on; to be called again whenever logging was configured anew."""
    global _reporter  # noqa: PLW0603 - one process, one SDK
    if _reporter is None:
        _reporter = Reporter(service, dsn)
    root = logging.getLogger()
    if _reporter not in root.handlers:
        root.addHandler(_reporter)


def report(name: str, error: BaseException, **said: Any) -> None:
    """Report an exception that is logged without its text, at a level below ``error``; ``said`` are ids of the log."""
    if _reporter is not None:
        _reporter.report(name, (type(error), error, error.__traceback__), said)


def finish_reports() -> None:
    """Send what waits; before ``os._exit``."""
    if _reporter is not None:
        _reporter.finish()


def _exc_info(value: Any) -> ExcInfo | None:
    if isinstance(value, BaseException):
        return type(value), value, value.__traceback__
    if isinstance(value, tuple):
        return cast("ExcInfo", value) if value[0] is not None else None
    if value:
        found = sys.exc_info()
        return cast("ExcInfo", found) if found[0] is not None else None
    return None
