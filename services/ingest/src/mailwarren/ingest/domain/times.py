"""When to send, as callers write it: ISO 8601, or one of a few plain English phrases.

The phrases are a small grammar of our own. General parsers guess: they drop the words that they do not know, or take a
weekday for the last one, and a mail that was sent at a guessed time cannot be called back. What may mean two days
("next friday") is refused too.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from mailwarren.ingest.domain.refusal import Refusal, invalid

FURTHEST = timedelta(days=30)
SLACK = timedelta(minutes=1)
"""How far a time may be in the past, or beyond :data:`FURTHEST`, and is moved to the bound: the caller's clock is not
ours, and the call took its time."""
MAX_TEXT = 100
"""Characters."""

UNDERSTOOD = (
    "It is an ISO 8601 time such as `2026-12-01T09:00:00Z`, or a phrase: `in 1 hour`, `in 2 days and 3 hours`, "
    "`tomorrow at 9am`, `friday at 3pm ET`, `today at 17:30 Europe/Berlin`. Without a time zone it is UTC."
)

_UNITS = {
    "s": "seconds", "sec": "seconds", "secs": "seconds", "second": "seconds", "seconds": "seconds",
    "m": "minutes", "min": "minutes", "mins": "minutes", "minute": "minutes", "minutes": "minutes",
    "h": "hours", "hr": "hours", "hrs": "hours", "hour": "hours", "hours": "hours",
    "d": "days", "day": "days", "days": "days",
    "w": "weeks", "week": "weeks", "weeks": "weeks",
}  # fmt: skip
_WEEKDAYS = {
    name: number
    for number, names in enumerate(
        ("monday mon", "tuesday tue tues", "wednesday wed", "thursday thu thur thurs", "friday fri", "saturday sat",
         "sunday sun")
    )
    for name in names.split()
}  # fmt: skip
_ZONES: dict[str, str | float] = {
    "utc": 0, "gmt": 0, "z": 0,
    "et": "America/New_York", "est": -5, "edt": -4,
    "ct": "America/Chicago", "cst": -6, "cdt": -5,
    "mt": "America/Denver", "mst": -7, "mdt": -6,
    "pt": "America/Los_Angeles", "pst": -8, "pdt": -7,
    "cet": 1, "cest": 2,
}  # fmt: skip
"""Abbreviations: ``ET`` is what the clock on the wall says there, ``EST`` and ``EDT`` are fixed. Others (IST, BST) mean
several zones."""

_ISO = re.compile(r"\d{4}-?(?:\d{2}-?\d{2}|W\d{2}-?\d)(?:[T ]\d{2}.*)?", re.IGNORECASE)
_APART = re.compile(r" (?=[+-]\d)| UTC$")
"""How Ruby and Go print the zone: set apart."""
_SHIFT = re.compile(r"(?:in )(?P<amounts>.+)|(?P<later>.+) from now")
_AMOUNT = re.compile(r"(?:(?P<number>\d{1,7}(?:\.\d{1,3})?) ?|(?:an?|one) )(?P<unit>[a-z]+)")
_DAY = re.compile(
    r"(?P<day>today|tomorrow|the day after tomorrow|next day|(?:on |this )?[a-z]+day|(?:on |this )?[a-z]{3,5})"
)
_CLOCK = re.compile(
    r"(?:at )?(?:(?P<word>noon|midday|midnight)"
    r"|(?P<hour>\d{1,2})(?::(?P<minute>\d{2}))? ?(?P<half>[ap]\.?m\.?(?![a-z]))?)"
)
_OFFSET = re.compile(r"(?:utc|gmt)?(?P<sign>[+-])(?P<hours>\d{1,2})(?::?(?P<minutes>\d{2}))?")


def parse_scheduled_at(text: str, now: datetime) -> datetime:
    """When to send, in UTC: not before ``now``, and not beyond :data:`FURTHEST` from it.

    Args:
        text: as the caller gave it.
        now: with a time zone.

    Raises:
        Refusal: 422 that says what is understood.
    """
    due = _read(text, now)
    if due < now - SLACK:
        raise invalid(f"Invalid `scheduled_at` field: it is in the past ({_shown(due)}).")
    if due > now + FURTHEST + SLACK:
        raise invalid(f"Invalid `scheduled_at` field: it is more than {FURTHEST.days} days ahead ({_shown(due)}).")
    return min(max(due, now.astimezone(UTC)), now.astimezone(UTC) + FURTHEST)


def _read(text: str, now: datetime) -> datetime:
    words = " ".join(text.split())
    if not words or len(text) > MAX_TEXT:
        raise _unknown()
    try:
        found = _iso(words) if _ISO.fullmatch(words) else _phrase(words.lower().replace(",", " "), now)
    except (ValueError, OverflowError) as error:
        raise _unknown() from error
    return found


def _iso(text: str) -> datetime:
    found = datetime.fromisoformat(_APART.sub("", text.upper()))
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)


def _phrase(text: str, now: datetime) -> datetime:
    text = " ".join(text.split())
    if match := _SHIFT.fullmatch(text):
        return now.astimezone(UTC) + _shift(match["amounts"] or match["later"])
    if text.startswith("next ") and text.split()[1] in _WEEKDAYS:
        name = text.split()[1]
        raise invalid(
            f"Invalid `scheduled_at` field: `next {name}` may mean two days. Say `{name} at …` for the first one from "
            "now on, or give the date."
        )
    day = _DAY.match(text)
    clock = _CLOCK.match(text, day.end() + 1) if day else None
    if day is None or clock is None or text[day.end()] != " " or clock.group() in ("", "at "):
        raise ValueError(text)
    zone = _zone(text[clock.end() :].strip())
    return _first(_days(day["day"], now.astimezone(zone).date()), _time(clock), zone, now)


def _shift(text: str) -> timedelta:
    found = timedelta()
    rest = text.replace(" and ", " ")
    while rest:
        match = _AMOUNT.match(rest)
        if match is None or match["unit"] not in _UNITS:
            raise ValueError(text)
        number = float(match["number"] or 1)
        found += timedelta(**{_UNITS[match["unit"]]: number})
        rest = rest[match.end() :].removeprefix(" ")
    return found


def _days(text: str, today: date) -> Iterator[date]:
    """The days that are meant: of a weekday today and the same one of the next week."""
    ahead = {"today": 0, "tomorrow": 1, "next day": 1, "the day after tomorrow": 2}.get(text)
    if ahead is not None:
        yield today + timedelta(days=ahead)
        return
    number = _WEEKDAYS.get(text.removeprefix("on ").removeprefix("this "))
    if number is None:
        raise ValueError(text)
    first = today + timedelta(days=(number - today.weekday()) % 7)
    yield from (first, first + timedelta(days=7))


def _time(clock: "re.Match[str]") -> time:
    if word := clock["word"]:
        return time(0 if word == "midnight" else 12)
    hour, half = int(clock["hour"]), (clock["half"] or "").replace(".", "")
    if half:
        if not 1 <= hour <= 12:  # noqa: PLR2004 - of a clock's face
            raise ValueError(hour)
        hour = hour % 12 + (12 if half == "pm" else 0)
    elif clock["minute"] is None:
        # "at 9" may be in the morning or in the evening.
        raise ValueError(hour)
    return time(hour, int(clock["minute"] or 0))


def _first(days: Iterator[date], clock: time, zone: tzinfo, now: datetime) -> datetime:
    """The first of these moments that is not past, else the last.

    A time that the clocks jump over in spring is the same time after they were put forward; one that comes twice in
    autumn is the first of the two that is ahead.
    """
    found = None
    for day in days:
        for fold in (0, 1):
            found = datetime.combine(day, clock, zone).replace(fold=fold).astimezone(UTC)
            if found >= now:
                return found
    if found is None:
        raise ValueError("no day")
    return found


def _zone(text: str) -> tzinfo:
    if not text:
        return UTC
    known = _ZONES.get(text)
    if isinstance(known, int | float):
        return timezone(timedelta(hours=known))
    if match := _OFFSET.fullmatch(text):
        size = timedelta(hours=int(match["hours"]), minutes=int(match["minutes"] or 0))
        return timezone(size if match["sign"] == "+" else -size)
    name = known or (_names().get(text) if "/" in text else None)
    if name is None:
        raise ValueError(text)
    return ZoneInfo(name)


@cache
def _names() -> Mapping[str, str]:
    """The names of the zones by how they are written in lower case."""
    return {name.lower(): name for name in available_timezones()}


def _unknown() -> Refusal:
    return invalid(f"Invalid `scheduled_at` field. {UNDERSTOOD}")


def _shown(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
