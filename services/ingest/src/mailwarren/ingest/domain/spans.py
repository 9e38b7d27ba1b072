"""Spans of time and rates as people write them: ``30s``, ``5m``, ``2h``; ``10/min``."""

import math
import re

_UNITS = {"s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "hour": 3600.0, "d": 86400.0}
_SPAN = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*(s|m|h|d)?")
_RATE = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*(?:/\s*(s|sec|m|min|h|hour))?")


def parse_span(value: float | str) -> float:
    """Seconds of ``2h``, or of a number of them.

    Raises:
        ValueError: it is neither, with words for who wrote it.
    """
    if isinstance(value, str):
        found = _SPAN.fullmatch(value.strip())
        if not found:
            raise ValueError(f"a span is written as 30s, 5m or 2h, not {value[:40]!r}")
        return float(found[1]) * _UNITS[found[2] or "s"]
    return _positive(value, "a span")


def parse_rate(value: float | str) -> float:
    """A second, of ``10/min``, or of a number.

    Raises:
        ValueError: it is neither, or nothing.
    """
    if isinstance(value, str):
        found = _RATE.fullmatch(value.strip())
        if not found:
            raise ValueError(f"a rate is written as 10/s, 10/min or 10/h, not {value[:40]!r}")
        value = float(found[1]) / _UNITS[found[2] or "s"]
    return _positive(value, "a rate")


def show_span(seconds: float) -> str:
    """A span for people, to two units: ``2 h 5 min``."""
    left = max(0, math.ceil(seconds))
    days, left = divmod(left, 86400)
    hours, left = divmod(left, 3600)
    minutes, rest = divmod(left, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    shown = [f"{number} {unit}" for number, unit in parts if number][:2]
    return " ".join(shown) or "0 s"


def _positive(value: float, what: str) -> float:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{what} is greater than 0")
    return float(value)
