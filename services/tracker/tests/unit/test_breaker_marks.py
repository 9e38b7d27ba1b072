"""When a tenant is warned, and when its bulk mail is paused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwarren.store.states import BreakerState
from mailwarren.tracker.domain.breaker import Counts, Marks, judge

FINE, WARNED, PAUSED = BreakerState.FINE, BreakerState.WARNED, BreakerState.PAUSED
MARKS = Marks()


@pytest.mark.parametrize(
    ("decided", "bounced", "complained", "state"),
    [
        (999, 999, 0, FINE),
        (1000, 49, 0, FINE),
        (1000, 50, 0, WARNED),
        (1000, 45, 5, WARNED),
        (1000, 99, 0, WARNED),
        (1000, 100, 0, PAUSED),
        (1000, 0, 100, PAUSED),
        (1_000_000, 100_000, 0, PAUSED),
        (0, 0, 0, FINE),
    ],
)
def test_the_marks(decided, bounced, complained, state):
    assert judge(FINE, Counts(decided, bounced, complained), MARKS) is state


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_nothing_but_a_person_ends_a_pause(decided, bounced, complained):
    assert judge(PAUSED, Counts(decided, bounced, complained), MARKS) is PAUSED


def test_a_warning_ends_well_below_its_mark():
    assert judge(WARNED, Counts(1000, 41, 0), MARKS) is WARNED
    assert judge(WARNED, Counts(1000, 39, 0), MARKS) is FINE
    assert judge(WARNED, Counts(999, 998, 0), MARKS) is FINE


def test_zero_means_never():
    all_of_it = Counts(5000, 5000, 0)
    assert judge(FINE, all_of_it, Marks(pause=0.0)) is WARNED
    assert judge(FINE, all_of_it, Marks(warn=0.0)) is PAUSED
    assert judge(WARNED, all_of_it, Marks(warn=0.0, pause=0.0)) is FINE


def test_counts_are_told_in_a_sentence():
    assert str(Counts(4000, 400, 8)) == ("10.2% of 4,000 mails bounced or drew complaints (400 bounces, 8 complaints)")
