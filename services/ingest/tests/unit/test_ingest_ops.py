"""When orders are tried again, and when jobs run next."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mailwarren.ingest.domain.periods import next_run
from mailwarren.ingest.domain.retries import TRIES, plan_retry
from mailwarren.ingest.settings import OpsSettings

DUE = datetime(2026, 1, 1, tzinfo=UTC)


def test_waits_grow_and_then_stay() -> None:
    plans = [plan_retry(attempt, 3, away=False) for attempt in range(1, TRIES + 1)]
    assert plans == [(0, 2), (1, 3), (2, 4), (2, 5), (2, 6), None]


def test_an_outage_of_the_database_costs_no_try() -> None:
    assert plan_retry(TRIES, 3, away=True) == (1, TRIES)
    assert plan_retry(1, 1, away=True) == (0, 1)


@pytest.mark.parametrize(
    ("late", "after"), [(0, 60), (59.9, 60), (60, 120), (3600, 3660), (9 * 86400 + 1, 9 * 86400 + 60)]
)
def test_what_was_missed_is_not_made_up_for(late: float, after: float) -> None:
    assert next_run(DUE, 60, DUE + timedelta(seconds=late)) == DUE + timedelta(seconds=after)


@given(every=st.floats(1, 1e6), late=st.floats(0, 1e8))
def test_the_next_run_is_ahead_by_no_more_than_a_period(every: float, late: float) -> None:
    now = DUE + timedelta(seconds=late)
    slack = timedelta(milliseconds=1)
    assert now - slack <= next_run(DUE, every, now) <= now + timedelta(seconds=every) + slack


def test_mail_is_not_forgotten_while_it_may_be_on_its_way() -> None:
    with pytest.raises(ValidationError, match="4 and more"):
        OpsSettings(emails_days=3)
    assert OpsSettings(emails_days=0, stats_days=4).emails_days == 0
