"""Percentiles of all mails, and how many are in the system when."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwarren.stress.account import Entry
from mailwarren.stress.ours import waiting_only
from mailwarren.stress.result import in_system, spread, sustained


def test_percentiles_are_nearest_ranks():
    found = spread([float(n) for n in range(100, 0, -1)])
    assert found is not None
    assert (found.count, found.mean, found.p50, found.p95, found.p99, found.most) == (100, 50.5, 50, 95, 99, 100)
    assert spread([]) is None


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200))
def test_percentiles_are_values_that_were_measured_and_in_order(values):
    found = spread(values)
    assert found is not None
    assert {found.p50, found.p95, found.p99, found.most} <= set(values)
    assert min(values) <= found.p50 <= found.p95 <= found.p99 <= found.most == max(values)
    assert found.mean == pytest.approx(statistics.fmean(values))


def test_sustained_leaves_out_a_slow_start_and_a_slow_end():
    steady = [10 + n / 100 for n in range(1000)]
    assert sustained([0.0, *steady, 60.0]) == pytest.approx(100, rel=0.01)
    assert sustained([1.0]) == 0


def test_what_has_begun_and_not_ended_is_in_the_system():
    assert in_system([0, 0, 1, 5], [2, 3, 4], [0, 1, 2, 3, 4, 5]) == [2, 3, 2, 1, 0, 1]


def test_time_is_waited_away_only_while_every_open_mail_waits_for_its_next_try():
    entries = [
        Entry("a", "a@x.test", "delivered", 1, 0.0, 2.0),
        Entry("b", "b@x.test", "delivered", 2, 0.0, 10.0),
    ]
    # b waits from 1 to 9; a is open until 2, and from 9 b is being sent.
    assert waiting_only(entries, [(1.0, 9.0)]) == pytest.approx(0.7, abs=0.01)
    assert waiting_only(entries, []) == 0
