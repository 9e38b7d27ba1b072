"""``scheduled_at``: what is understood, what is refused, and what holds for every text."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwarren.ingest.domain.refusal import Refusal
from mailwarren.ingest.domain.times import FURTHEST, SLACK, parse_scheduled_at

SUNDAY = datetime(2026, 11, 22, 14, 40, tzinfo=UTC)
NEW_YORK = ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    ("text", "due"),
    [
        # The public API's own examples.
        ("in 1 min", "2026-11-22T14:41:00"),
        ("in 1 hour", "2026-11-22T15:40:00"),
        ("in 3 days", "2026-11-25T14:40:00"),
        ("in 30 days", "2026-12-22T14:40:00"),
        ("tomorrow at 9am", "2026-11-23T09:00:00"),
        ("Friday at 3pm ET", "2026-11-27T20:00:00"),
        ("next day at 9am PST", "2026-11-23T17:00:00"),
        ("2026-12-05T11:52:01.858Z", "2026-12-05T11:52:01.858000"),
        # Amounts.
        ("In 1 Hour and 30 minutes", "2026-11-22T16:10:00"),
        ("in 2 days, 3 hours", "2026-11-24T17:40:00"),
        ("in 1h30m", "2026-11-22T16:10:00"),
        ("in 1.5 hours", "2026-11-22T16:10:00"),
        ("in an hour", "2026-11-22T15:40:00"),
        ("in a week", "2026-11-29T14:40:00"),
        ("5 minutes from now", "2026-11-22T14:45:00"),
        # Days and clocks.
        ("today at 17:30 Europe/Berlin", "2026-11-22T16:30:00"),
        ("the day after tomorrow at midnight ET", "2026-11-24T05:00:00"),
        ("tomorrow at noon", "2026-11-23T12:00:00"),
        ("tomorrow at 12am", "2026-11-23T00:00:00"),
        ("tomorrow 9 a.m. UTC+2", "2026-11-23T07:00:00"),
        ("on fri at 5:05pm", "2026-11-27T17:05:00"),
        ("this wednesday at 9am", "2026-11-25T09:00:00"),
        ("sunday at 14:41", "2026-11-22T14:41:00"),
        ("sunday at 14:39", "2026-11-29T14:39:00"),
        # ISO 8601.
        ("2026-12-01T09:00:00+05:30", "2026-12-01T03:30:00"),
        ("2026-12-01T09:00:00", "2026-12-01T09:00:00"),
        ("2026-12-01", "2026-12-01T00:00:00"),
        ("2026-12-01 09:00:00 +0100", "2026-12-01T08:00:00"),
        ("2026-12-01 09:00:00 UTC", "2026-12-01T09:00:00"),
        ("20261201t090000z", "2026-12-01T09:00:00"),
        # A clock that is not ours.
        ("2026-11-22T14:39:30Z", "2026-11-22T14:40:00"),
        ("2026-12-22T14:40:30Z", "2026-12-22T14:40:00"),
    ],
)
def test_what_is_understood(text, due):
    found = parse_scheduled_at(text, SUNDAY)
    assert (found.isoformat(), found.tzinfo) == (f"{due}+00:00", UTC)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "ISO 8601"),
        ("soon", "tomorrow at 9am"),
        ("tomorrow", "It is an ISO 8601"),
        ("tomorrow at", "It is an ISO 8601"),
        ("tomorrow at 9", "It is an ISO 8601"),
        ("tomorrow at 13pm", "It is an ISO 8601"),
        ("tomorrow at 25:00", "It is an ISO 8601"),
        ("tomorrow at 9am IST", "It is an ISO 8601"),
        ("tomorrow at 9am ../etc/passwd", "It is an ISO 8601"),
        ("tomorrow at 9am or so", "It is an ISO 8601"),
        ("midday at 9am", "It is an ISO 8601"),
        ("in am", "It is an ISO 8601"),
        ("in 5", "It is an ISO 8601"),
        ("in 9999999 weeks", "It is an ISO 8601"),
        ("in five minutes", "It is an ISO 8601"),
        ("1764547200", "It is an ISO 8601"),
        ("2026-13-01T09:00:00Z", "It is an ISO 8601"),
        ("2026-12-01T09:00:00+99:00", "It is an ISO 8601"),
        ("0001-01-01T00:00:00+14:00", "It is an ISO 8601"),
        ("in 1 hour" + " " * 100, "It is an ISO 8601"),
        ("next friday at 3pm ET", "`next friday` may mean two days"),
        ("today at 9am", "in the past (2026-11-22T09:00:00Z)"),
        ("2026-11-22T14:38:00Z", "in the past"),
        ("in 31 days", "more than 30 days ahead (2026-12-23T14:40:00Z)"),
        ("2027-12-01T09:00:00Z", "more than 30 days ahead"),
    ],
)
def test_what_is_refused_says_why(text, says):
    with pytest.raises(Refusal) as caught:
        parse_scheduled_at(text, SUNDAY)
    assert (caught.value.status, says in caught.value.message) == (422, True), caught.value.message


def test_a_time_that_the_clocks_jump_over_is_an_hour_later_by_them():
    now = datetime(2026, 3, 7, 12, tzinfo=UTC)
    assert parse_scheduled_at("tomorrow at 2:30am ET", now).astimezone(NEW_YORK).isoformat()[11:] == "03:30:00-04:00"


def test_a_time_that_comes_twice_is_the_first_that_is_ahead():
    before = datetime(2026, 11, 1, 4, tzinfo=UTC)
    first = parse_scheduled_at("today at 1:30am ET", before)
    assert first.astimezone(NEW_YORK).isoformat()[11:] == "01:30:00-04:00"
    second = parse_scheduled_at("today at 1:30am ET", first + timedelta(minutes=10))
    assert second - first == timedelta(hours=1)


moments = st.datetimes(datetime(2024, 1, 1), datetime(2035, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - in UTC
WORDS = """in 1 2 59 min hour hours days week and today tomorrow friday sunday next at 9am 2:30am 23:59 noon midnight ET
PST UTC Europe/Berlin America/New_York +02:00 2026-11-22 T09:00:00Z from now"""
words = st.lists(st.sampled_from(WORDS.split()), max_size=7).map(" ".join)


@given(text=st.one_of(words, st.text(max_size=40)), now=moments)
def test_whatever_the_text_the_time_is_neither_past_nor_too_far(text, now):
    with suppress(Refusal):
        assert now <= parse_scheduled_at(text, now) <= now + FURTHEST


@given(now=moments, ahead=st.timedeltas(-SLACK, FURTHEST), hours=st.integers(-12, 14))
def test_every_moment_of_the_next_30_days_is_understood_in_every_offset(now, ahead, hours):
    due = (now + ahead).astimezone(timezone(timedelta(hours=hours)))
    assert parse_scheduled_at(due.isoformat(), now) == max(due, now)


@given(now=moments, day=st.sampled_from(["monday", "thursday", "sunday"]), hour=st.integers(0, 23),
       zone=st.sampled_from(["America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kolkata"]))  # fmt: skip
def test_a_weekday_is_within_a_week_and_has_its_clock_on_every_day_of_the_year(now, day, hour, zone):
    local = parse_scheduled_at(f"{day} at {hour}:30 {zone}", now).astimezone(ZoneInfo(zone))
    assert local.strftime("%A").lower() == day
    assert timedelta() <= local - now <= timedelta(days=7, hours=1)
    # The one time that a spring day lacks is said by the clock that was put forward.
    assert (local.hour, local.minute) == (hour, 30) or (local.fold == 0 and local.hour - hour in (0, 1))
