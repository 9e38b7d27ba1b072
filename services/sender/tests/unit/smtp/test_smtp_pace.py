"""Pacing: never more than the rate allows, and no credit for whoever takes over."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwarren.sender.smtp.pace import LATE, Pace, Pacer

RATES = st.floats(0.01, 1000)
STEPS = st.lists(st.floats(0, 3), min_size=1, max_size=80)


@given(rate=RATES, steps=STEPS)
def test_since_it_began_there_were_never_more_than_the_rate_allows(rate: float, steps: list[float]) -> None:
    pace, now, taken = Pace(rate, 0.0), 0.0, 0
    for step in steps:
        now += step
        while pace.take(now):
            taken += 1
        assert taken <= rate * now + 1


@given(rate=RATES, steps=STEPS)
def test_in_any_span_there_is_at_most_one_more_and_what_a_late_timer_owes(rate: float, steps: list[float]) -> None:
    pace, now, taken = Pace(rate, 0.0), 0.0, [0.0]
    for step in steps:
        now += step
        while pace.take(now):
            taken.append(now)
    for first, begin in enumerate(taken[1:], 1):
        for count, end in enumerate(taken[first:], 1):
            assert count <= rate * (end - begin + LATE) + 2


@given(rates=st.lists(st.tuples(st.floats(0, 500), st.floats(0, 2)), min_size=1, max_size=40))
def test_a_rate_that_changes_is_never_exceeded(rates: list[tuple[float, float]]) -> None:
    """The shares of a site's slots come and go."""
    pace, now, taken, allowed = Pace(0.0, 0.0), 0.0, 0, 0.0
    for rate, seconds in rates:
        pace.set_rate(rate, now)
        for _ in range(20):
            now += seconds / 20
            while pace.take(now):
                taken += 1
        allowed += rate * seconds
        assert taken <= allowed + 1


@given(parts=st.lists(st.integers(1, 5), min_size=1, max_size=5), takeovers=st.integers(1, 10))
def test_a_takeover_begins_with_nothing(parts: list[int], takeovers: int) -> None:
    """A share that passes from one to the next, each as eager as can be, brings no more than one that stays."""
    rate, now, taken = sum(parts) * 2.0, 0.0, 0
    for _ in range(takeovers):
        holders = [Pace(part * 2.0, now) for part in parts]
        for _ in range(100):
            now += 0.01
            for pace in holders:
                while pace.take(now):
                    taken += 1
    assert taken <= rate * now + 1


def test_waiting_for_as_long_as_it_says_is_enough() -> None:
    pace = Pace(7.0, 3.0)
    now = 3.0
    for _ in range(50):
        now += pace.wait(now)
        assert pace.take(now)
        assert not pace.take(now)
    assert now == pytest.approx(3 + 50 / 7)


def test_nothing_runs_in_at_a_rate_of_nothing() -> None:
    pace = Pace(10.0, 0.0)
    assert not pace.take(0.05)
    pace.set_rate(0.0, 0.09)
    assert pace.wait(5.0) == float("inf")
    pace.set_rate(10.0, 5.0)
    assert not pace.take(5.05)
    assert pace.take(5.11)


async def test_who_found_no_token_is_woken_with_each_one() -> None:
    loop = asyncio.get_running_loop()
    at: list[float] = []
    done = loop.create_future()

    def wake() -> None:
        while pacer.take():
            at.append(loop.time())
        if len(at) == 10:
            done.set_result(None)

    pacer = Pacer(100.0, loop, wake)
    began = loop.time()
    wake()
    async with asyncio.timeout(5):
        await done
    pacer.stop()
    assert at[-1] - began >= 10 / 100 - 0.002
    assert all(later >= earlier for earlier, later in pairwise(at))
