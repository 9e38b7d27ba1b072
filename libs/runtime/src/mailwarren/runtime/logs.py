"""Logs: one JSON object a line on stdout, for our own events and for the libraries' alike.

Event names are dotted (``sender.attempt.deferred``); ids are bound with :mod:`structlog.contextvars`. Bodies and
addresses are never logged in clear: :func:`address_hash` gives something to search by.
"""

import hashlib
import json
import logging
import sys
from typing import Any

import structlog


def configure_logging(service: str, level: str = "INFO") -> None:
    """Route structlog and the standard library's logging to stdout as JSON."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        cache_logger_on_first_use=True,
    )

    def add_service(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["service"] = service
        return event

    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        _Formatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                add_service,
                structlog.processors.JSONRenderer(_dumps),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)
    # These two log every connection attempt at warning level; the link says it once, in our words.
    for noisy in ("aiormq", "aio_pika"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


class _Formatter(structlog.stdlib.ProcessorFormatter):
    def format(self, record: logging.LogRecord) -> str:
        # A library's wrong format string costs its line nothing but the formatting.
        if record.args:
            try:
                record.getMessage()
            except (TypeError, ValueError, KeyError):
                record.msg, record.args = f"{record.msg} {_text(record.args)}", None
        return super().format(record)


def _dumps(event: structlog.typing.EventDict, **_: Any) -> str:
    """JSON of whatever was logged: a line is never lost for a value in it."""
    try:
        return json.dumps(event, default=_text, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return json.dumps({_text(key): _plain(value) for key, value in event.items()})


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | bool | None) else _text(value)


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - anybody's __str__
        return f"<{type(value).__name__}>"


def address_hash(address: str) -> str:
    """Twelve hex digits that stand for an address in logs: the same address gives the same digits."""
    return hashlib.blake2s(address.lower().encode(), digest_size=6).hexdigest()
