"""How files write spans of time and rates: ``30``, ``"30s"``, ``"5m"``, ``"2h"``; ``0.5``, ``"10/min"``, ``"none"``."""

from typing import Annotated

from msgspec import Meta

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_PER = {"s": 1.0, "min": 60.0, "h": 3600.0}

Span = Annotated[float, Meta(gt=0, le=86_400)] | Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,4}[smh]$")]
"""As it is written, a day at most in seconds; :func:`seconds` says what it means."""
Rate = Annotated[float, Meta(gt=0, le=1_000_000)] | Annotated[str, Meta(pattern=r"^([1-9][0-9]{0,8}/(s|min|h)|none)$")]
"""As it is written; :func:`per_second` says what it means."""


def seconds(span: float | str) -> float:
    """The seconds of a span."""
    return int(span[:-1]) * _SECONDS[span[-1]] if isinstance(span, str) else span


def per_second(rate: float | str | None) -> float | None:
    """A rate a second; None where there is none."""
    if rate is None or rate == "none":
        return None
    if not isinstance(rate, str):
        return rate
    count, per = rate.split("/")
    return int(count) / _PER[per]
