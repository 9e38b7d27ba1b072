"""Waits between attempts, and the end of patience."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwarren.contracts.lanes import Lane
from mailwarren.sender.domain.retry import POLICIES, deadline, plan_retry

NORMAL = POLICIES[Lane.NORMAL]


def attempts_until_the_end(lane: Lane, expires_at: float | None = None) -> tuple[int, float]:
    policy, now, attempt, rng = POLICIES[lane], 0.0, 1, Random(4)
    until = deadline(policy, 0.0, expires_at, 1.0)
    while (wait := plan_retry(policy, attempt=attempt, now=now, until=until, scale=1.0, rng=rng)) is not None:
        now += wait
        attempt += 1
    return attempt, now


def test_normal_mail_is_tried_for_two_days() -> None:
    attempts, last = attempts_until_the_end(Lane.NORMAL)
    assert 15 <= attempts <= 22
    assert 43 * 3600 < last <= 48 * 3600


def test_high_mail_is_tried_for_four_hours() -> None:
    attempts, last = attempts_until_the_end(Lane.HIGH)
    assert 11 <= attempts <= 16
    assert 3.3 * 3600 < last <= 4 * 3600


def test_an_expiry_ends_it_earlier() -> None:
    attempts, last = attempts_until_the_end(Lane.HIGH, expires_at=300.0)
    assert 3 <= attempts <= 4
    assert last < 300.0


def test_an_expiry_after_the_budget_changes_nothing() -> None:
    assert deadline(NORMAL, 100.0, 1e12, 1.0) == 100.0 + NORMAL.budget


def test_the_server_s_wish_is_honoured_when_it_is_longer() -> None:
    def wait(hint: float) -> float | None:
        return plan_retry(NORMAL, attempt=1, now=0, until=1e9, scale=1.0, rng=Random(1), hint=hint)

    assert wait(3600.0) == 3600.0
    short = wait(1.0)
    assert short is not None
    assert short > 200.0


@given(attempt=st.integers(1, 50), seed=st.integers(), scale=st.floats(0.001, 1.0), lane=st.sampled_from(list(Lane)))
def test_a_wait_is_its_step_within_the_jitter(attempt: int, seed: int, scale: float, lane: Lane) -> None:
    policy = POLICIES[lane]
    step = policy.waits[min(attempt, len(policy.waits)) - 1] * scale
    wait = plan_retry(policy, attempt=attempt, now=0.0, until=1e12, scale=scale, rng=Random(seed))
    assert wait is not None
    assert step * 0.8 * 0.999 <= wait <= step * 1.2 * 1.001


@pytest.mark.parametrize("left", [0.0, 1.0, 100.0])
def test_no_wait_passes_the_end(left: float) -> None:
    assert plan_retry(NORMAL, attempt=1, now=1000.0, until=1000.0 + left, scale=1.0, rng=Random(0)) is None


waits = st.floats(0, 1e6)
plans = st.fixed_dictionaries(
    {"attempt": st.integers(1, 60), "now": st.floats(0, 1e9), "scale": st.floats(0.001, 1.0), "hint": st.none() | waits}
)


@given(lane=st.sampled_from(list(Lane)), plan=plans, seed=st.integers())
def test_with_one_dice_a_later_attempt_and_a_longer_wish_never_wait_less(lane: Lane, plan: dict, seed: int) -> None:
    def wait(**changes: object) -> float:
        found = plan_retry(POLICIES[lane], **(plan | changes), until=1e12, rng=Random(seed))
        assert found is not None
        return found

    assert 0 < wait() <= wait(attempt=plan["attempt"] + 1)
    assert wait() <= wait(hint=(plan["hint"] or 0.0) + 60.0)


@given(
    lane=st.sampled_from(list(Lane)),
    seed=st.integers(),
    scale=st.floats(0.001, 1.0),
    expires_at=st.none() | st.floats(-1e3, 1e6),
    hints=st.lists(st.none() | st.floats(0, 3600.0), max_size=300),
)
def test_whatever_servers_wish_the_attempts_end_before_the_time_does(
    lane: Lane, seed: int, scale: float, expires_at: float | None, hints: list[float | None]
) -> None:
    policy, now, rng = POLICIES[lane], 0.0, Random(seed)
    until = deadline(policy, 0.0, expires_at, scale)
    assert until <= policy.budget * scale
    most = policy.budget / (0.8 * min(policy.waits)) + 2
    attempt = 1
    while True:
        hint = hints[(attempt - 1) % len(hints)] if hints else None
        wait = plan_retry(policy, attempt=attempt, now=now, until=until, scale=scale, rng=rng, hint=hint)
        if wait is None:
            break
        assert now < now + wait < until
        now += wait
        attempt += 1
        assert attempt < most
