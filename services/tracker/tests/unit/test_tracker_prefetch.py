"""How many messages to take, by their sizes."""

from hypothesis import given
from hypothesis import strategies as st

from mailwarren.tracker.domain.prefetch import CALM, Prefetch

MIB = 1024 * 1024
BUDGET = 64 * MIB


def test_within_the_budget_it_stays():
    prefetch = Prefetch(200, BUDGET, 20)
    assert not prefetch.falls(BUDGET, 100, 0.0)
    assert prefetch.now == 200


def test_beyond_the_budget_as_many_are_taken_as_fill_half_of_it_over_all_queues():
    prefetch = Prefetch(200, BUDGET, 20)
    assert prefetch.falls(BUDGET + 512 * 1024, 129, 0.0)
    assert prefetch.now == 3
    assert 20 * prefetch.now * 512 * 1024 <= BUDGET / 2


def test_it_falls_to_one_and_no_further():
    prefetch = Prefetch(200, BUDGET, 20)
    assert prefetch.falls(100 * MIB, 10, 0.0)
    assert prefetch.now == 1
    assert not prefetch.falls(1000 * MIB, 20, 1.0)


def test_it_rises_in_steps_when_there_was_room_for_long():
    prefetch = Prefetch(200, BUDGET, 20)
    prefetch.falls(65 * MIB, 130, 100.0)
    seen = []
    for at in range(100, 600):
        prefetch.falls(MIB, 10, at)
        if prefetch.rises(at):
            seen.append((at, prefetch.now))
    assert seen == [(100 + CALM, 12), (100 + 2 * CALM, 48), (100 + 3 * CALM, 192), (100 + 4 * CALM, 200)]


def test_it_does_not_rise_while_what_comes_would_not_fit():
    prefetch = Prefetch(200, BUDGET, 20)
    prefetch.falls(65 * MIB, 130, 0.0)
    for at in range(1, 1000):
        prefetch.falls(20 * MIB, 40, at)
        assert not prefetch.rises(at)
    assert prefetch.now == 3


def test_a_single_burst_delays_a_rise_and_no_more():
    prefetch = Prefetch(200, BUDGET, 20)
    prefetch.falls(65 * MIB, 130, 0.0)
    prefetch.falls(20 * MIB, 40, 1.0)
    assert not prefetch.rises(CALM)
    assert not prefetch.rises(CALM + 1)
    assert prefetch.rises(2 * CALM)


@given(st.lists(st.tuples(st.integers(1, 10**9), st.integers(1, 4000), st.integers(0, 100)), max_size=30))
def test_it_never_leaves_its_bounds(happenings):
    prefetch, at = Prefetch(200, BUDGET, 20), 0
    for octets, messages, later in happenings:
        at += later
        before = prefetch.now
        assert prefetch.falls(octets, messages, at) == (prefetch.now < before)
        before = prefetch.now
        assert prefetch.rises(at) == (prefetch.now > before)
        assert 1 <= prefetch.now <= 200
