"""What is asked for by ``GET /v1/emails/metrics``, and how counts are shown."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwarren.ingest.domain.email_metrics import (
    METRICS,
    Counted,
    Dimension,
    Granularity,
    parse_wanted,
    registered,
)
from mailwarren.ingest.domain.refusal import Refusal

NOW = datetime(2026, 11, 22, 9, 7, 30, tzinfo=UTC)


def periods(**query: str) -> list[str]:
    wanted = parse_wanted(query | {"dimensions": "period"}, NOW)
    return [wanted.name_of(period) for period in wanted.periods()]


def refusal(**query: str) -> str:
    with pytest.raises(Refusal) as caught:
        parse_wanted(query, NOW).periods()
    assert caught.value.status == 422
    return str(caught.value)


def test_without_parameters_it_is_everything_of_the_last_six_days() -> None:
    wanted = parse_wanted({}, NOW)
    assert (wanted.start, wanted.end) == (NOW - timedelta(days=6), NOW)
    assert (wanted.metrics, wanted.dimensions, wanted.granularity) == (METRICS, (), Granularity.DAILY)
    # Whole quarters around it.
    assert wanted.first == datetime(2026, 11, 16, 9, 0, tzinfo=UTC)
    assert wanted.past == datetime(2026, 11, 22, 9, 15, tzinfo=UTC)
    assert wanted.periods() == [wanted.first]


def test_a_day_is_taken_whole_in_its_time_zone() -> None:
    wanted = parse_wanted({"start_date": "2026-11-01", "end_date": "2026-11-02", "timezone": "Asia/Kolkata"}, NOW)
    assert wanted.start == datetime(2026, 10, 31, 18, 30, tzinfo=UTC)
    assert wanted.end == datetime(2026, 11, 2, 18, 30, tzinfo=UTC)


def test_what_is_in_the_future_ends_now() -> None:
    assert parse_wanted({"end_date": "2027-01-01"}, NOW).end == NOW


def test_periods_begin_where_the_clock_on_the_wall_says() -> None:
    berlin = {"timezone": "Europe/Berlin"}
    assert periods(start_date="2026-10-24", end_date="2026-10-26", **berlin) == [
        "2026-10-24", "2026-10-25", "2026-10-26",
    ]  # fmt: skip
    # The day on which clocks go back has 25 hours.
    hours = periods(start_date="2026-10-25", end_date="2026-10-25", granularity="hourly", **berlin)
    assert len(hours) == len(set(hours)) == 25
    assert hours[2:4] == ["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"]
    spring = periods(start_date="2026-03-29", end_date="2026-03-29", granularity="hourly", **berlin)
    assert len(spring) == 23


def test_weeks_begin_on_mondays_and_months_on_their_first() -> None:
    assert periods(start_date="2026-11-04", end_date="2026-11-10", granularity="weekly") == ["2026-11-02", "2026-11-09"]
    assert periods(start_date="2026-01-31", end_date="2026-04-01", granularity="monthly") == [
        "2026-01-01", "2026-02-01", "2026-03-01", "2026-04-01",
    ]  # fmt: skip


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2026, 11, 1)),  # noqa: DTZ001 - of the query's time zone
    st.integers(0, 40 * 24 * 60),
    st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns", "Pacific/Auckland"]),
    st.sampled_from([*Granularity]),
)
def test_each_moment_is_in_one_period(start: datetime, minutes: int, zone: str, granularity: Granularity) -> None:
    query = {"start_date": start.isoformat(), "timezone": zone, "granularity": granularity, "dimensions": "period"}
    begun = parse_wanted(query, NOW).start
    query["end_date"] = min(begun + timedelta(minutes=minutes), NOW).isoformat()
    wanted = parse_wanted(query, NOW)
    found = wanted.periods()
    assert found == sorted(set(found))
    if wanted.first < wanted.past:
        assert found[0] <= wanted.first
        assert found[-1] < wanted.past
        assert len({wanted.name_of(one) for one in found}) == len(found)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"start_date": "yesterday"}, "`yesterday` is none"),
        ({"end_date": "0001-01-01"}, "end_date"),
        ({"start_date": "2027-01-01"}, "in the future"),
        ({"start_date": "2026-11-05", "end_date": "2026-11-04T00:00:00Z"}, "after `end_date`"),
        ({"timezone": "Mars/Olympus"}, "`Mars/Olympus` is none"),
        ({"timezone": "../etc/passwd"}, "is none"),
        ({"timezone": "America"}, "is none"),
        ({"granularity": "yearly"}, "hourly, daily, weekly, monthly"),
        ({"metrics": "sent,read"}, "not `read`"),
        ({"dimensions": "campaign"}, "not `campaign`"),
        ({"domain_id": "x"}, "must be a UUID"),
        ({"email_id": ",".join(str(uuid4()) for _ in range(101))}, "at most 100"),
        ({"email_id": str(uuid4()), "broadcast_id": str(uuid4())}, "cannot be used with"),
        ({"dimensions": "email,broadcast"}, "cannot be used with"),
        ({"limit": "5"}, "Unknown query parameters: limit"),
        ({"dimensions": "period", "granularity": "hourly", "start_date": "2020-01-01"}, "more than 10000 rows"),
    ],
)
def test_what_cannot_be_answered_says_why(query: dict[str, str], says: str) -> None:
    assert says in refusal(**query)


def test_rates_are_percentages_and_nothing_of_nothing_is_zero() -> None:
    counted = Counted({"period": "2026-11-22"})
    counted.add({"sent": 300, "delivered": 290, "bounced_permanent": 3})
    counted.add({"bounced_transient": 1, "complained": 1})
    assert counted.shown(["sent", "bounced", "bounce_rate", "delivery_rate", "complaint_rate", "open_rate"]) == {
        "period": "2026-11-22", "sent": 300, "bounced": 4, "bounce_rate": 1.33, "delivery_rate": 96.67,
        "complaint_rate": 0.34, "open_rate": 0.0,
    }  # fmt: skip
    assert Counted({}).shown(METRICS) == dict.fromkeys(METRICS, 0)


def test_a_sender_belongs_to_the_nearest_domain_above_it() -> None:
    names = {"a.test": UUID(int=1), "news.a.test": UUID(int=2)}
    assert registered(names, "news.a.test") == registered(names, "x.news.a.test") == UUID(int=2)
    assert registered(names, "b.a.test") == UUID(int=1)
    assert registered(names, "aa.test") is registered(names, "") is None


def test_the_words_are_those_of_the_sdk() -> None:
    import typing

    from resend.emails import _emails

    assert set(METRICS) == set(typing.get_args(_emails.MetricsMetric))
    assert {*Dimension} == set(typing.get_args(_emails.MetricsDimension))
    assert {*Granularity} == set(typing.get_args(_emails.MetricsGranularity))
