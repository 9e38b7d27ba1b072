"""What of an error report may leave: types, places in the code, ids. Nothing in which a mail or a setting could stand.

An event is built anew from what is known to be harmless, so whatever a later SDK adds is left out. Texts of exceptions
never go: they quote what they met. They stand in the log, under the report's ``trace_id``.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

TAGS = ("service", "event", "trace_id", "parcel_id", "delivery_id", "lane", "endpoint")
"""What is bound or logged that goes along, if it has the form of an id or a name."""

_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,200}")
_FUNCTION = re.compile(r"[A-Za-z0-9_.<>]{1,200}")
_FILE = re.compile(r"[A-Za-z0-9_.+/ -]{1,400}\.py")
_EVENT = ("event_id", "timestamp", "level", "platform", "logger", "message")
_OPERATORS = ("release", "environment", "server_name")
"""From the operator's own settings, or the pod's name."""
_MECHANISM = ("type", "handled", "exception_id", "parent_id", "is_exception_group", "source")


def scrub(event: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a Sentry event that may leave."""
    clean = _named(event, _EVENT)
    clean |= {name: event[name][:200] for name in _OPERATORS if isinstance(event.get(name), str)}
    clean["tags"] = _named(_mapping(event.get("tags")), TAGS)
    runtime = _mapping(_mapping(event.get("contexts")).get("runtime"))
    clean["contexts"] = {"runtime": _named(runtime, ("name", "version"))}
    clean["sdk"] = _named(_mapping(event.get("sdk")), ("name", "version"))
    clean["exception"] = {"values": [_exception(one) for one in _values(event.get("exception"))]}
    return clean


def _exception(given: Mapping[str, Any]) -> dict[str, Any]:
    clean = _named(given, ("type", "module"))
    clean["mechanism"] = _named(_mapping(given.get("mechanism")), _MECHANISM)
    frames = _mapping(given.get("stacktrace")).get("frames")
    clean["stacktrace"] = {"frames": [_frame(one) for one in _mappings(frames)]}
    return clean


def _frame(given: Mapping[str, Any]) -> dict[str, Any]:
    """Where in the code. No line of source: a template's frames show the template."""
    clean = _named(given, ("module", "in_app"))
    for name, form in (("filename", _FILE), ("abs_path", _FILE), ("function", _FUNCTION)):
        value = given.get(name)
        if isinstance(value, str) and form.fullmatch(value):
            clean[name] = value
    line = given.get("lineno")
    if isinstance(line, int):
        clean["lineno"] = line
    return clean


def _named(given: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: given[name] for name in names if _harmless(given.get(name))}


def _harmless(value: object) -> bool:
    return isinstance(value, bool | int) or (isinstance(value, str) and _NAME.fullmatch(value) is not None)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list | tuple) else []


def _values(value: object) -> list[Mapping[str, Any]]:
    return _mappings(_mapping(value).get("values"))
