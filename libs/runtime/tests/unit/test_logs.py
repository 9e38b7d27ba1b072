"""Logs: one JSON object a line, whatever was said and whoever said it. In a process of their own, as in a service."""

import json
import subprocess
import sys
from typing import Any

from mailwarren.runtime.logs import address_hash

SET_UP = """
import logging, structlog
from mailwarren.runtime.logs import configure_logging
configure_logging("ingest", {level!r})
log = structlog.get_logger()
"""


def logged(code: str, level: str = "INFO") -> list[dict[str, Any]]:
    """The lines that ``code`` logs, which must not have said anything else."""
    done = subprocess.run(
        [sys.executable, "-c", SET_UP.format(level=level) + code],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stderr == ""
    return [json.loads(line, parse_constant=_refuse) for line in done.stdout.split("\n")[:-1]]


def _refuse(constant: str) -> None:
    """Python reads NaN, which is no JSON and which others do not."""
    raise ValueError(constant)


def test_an_event_is_a_json_line_with_its_service_level_and_time() -> None:
    (line,) = logged('log.info("sender.attempt.deferred", attempt=2, site="example.test")')
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "sender.attempt.deferred",
        "attempt": 2,
        "site": "example.test",
        "level": "info",
        "service": "ingest",
    }


def test_libraries_log_the_same_way() -> None:
    (line,) = logged('logging.getLogger("uvicorn.error").warning("%s of %d", "two", 3)')
    assert (line["event"], line["level"], line["service"]) == ("two of 3", "warning", "ingest")


def test_bound_ids_stand_in_every_line() -> None:
    lines = logged(
        """
structlog.contextvars.bind_contextvars(email_id="e1")
log.info("a")
logging.getLogger("x").info("b")
structlog.contextvars.clear_contextvars()
log.info("c")
"""
    )
    assert [(line["event"], line.get("email_id")) for line in lines] == [("a", "e1"), ("b", "e1"), ("c", None)]


def test_an_exception_is_one_line_with_its_traceback() -> None:
    lines = logged(
        """
try:
    {}["missing"]
except KeyError:
    log.exception("tracker.batch.failed")
    logging.getLogger("x").exception("library")
"""
    )
    assert [line["event"] for line in lines] == ["tracker.batch.failed", "library"]
    assert all("KeyError: 'missing'" in line["exception"] for line in lines)


WEIRD = {
    "bytes": "b'\\xff'",
    "an object": "object()",
    "a set": "{1}",
    "not a number": "float('nan')",
    "a lone surrogate": "'\\ud800'",
    "line ends": "'a\\nb\\r\\u2028c'",
    "an exception": "ValueError('x')",
    "a mapping with a tuple as key": "{(1, 2): 3}",
    "a mapping with bytes as key": "{b'k': 1}",
    "itself": "(lambda l: (l.append(l), l)[1])([])",
    "what cannot be printed": "type('Rude', (), {'__str__': lambda s: 1 / 0, '__repr__': lambda s: 1 / 0})()",
    "a uuid": "__import__('uuid').UUID(int=1)",
    "a class": "int",
    "a great number": "10 ** 5000",
}


def test_no_value_loses_its_line() -> None:
    lines = logged("\n".join(f"log.info({name!r}, value={value}, other=1)" for name, value in WEIRD.items()))
    assert [line["event"] for line in lines] == list(WEIRD)
    assert all("value" in line for line in lines)


WRONG_CALLS = (
    'logging.getLogger("x").info("%d", "not a number")',
    'logging.getLogger("x").info("no place", 1, 2)',
    'logging.getLogger("x").info("%(name)s", {"other": 1})',
    'logging.getLogger("x").info({"a": object()})',
    'log.info("percent % sign", a=1)',
    "log.info(None)",
)


def test_a_wrong_call_is_logged_and_not_printed() -> None:
    lines = logged("\n".join(WRONG_CALLS))
    assert len(lines) == len(WRONG_CALLS)
    assert lines[0]["event"] == "%d ('not a number',)"
    assert lines[1]["event"] == "no place (1, 2)"
    assert {line["service"] for line in lines} == {"ingest"}


def test_the_level_holds_for_everybody() -> None:
    lines = logged('log.info("a"); log.warning("b"); logging.getLogger("x").info("c")', level="warning")
    assert [line["event"] for line in lines] == ["b"]


def test_the_amqp_client_does_not_log_each_attempt_to_connect() -> None:
    assert (
        logged('logging.getLogger("aiormq.connection").warning("again"); logging.getLogger("aio_pika").info("x")') == []
    )


def test_an_address_hash_finds_an_address_and_shows_none() -> None:
    assert address_hash("Bob@Example.test") == address_hash("bob@example.test")
    assert address_hash("bob@example.test") != address_hash("eve@example.test")
    assert len(address_hash("bob@example.test")) == 12
    int(address_hash("bob@example.test"), 16)
