"""Where a mail waits for a slow site: in the process, or on the ladder at no attempt's cost."""

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwarren.contracts.ladder import LONGEST_WAIT
from mailwarren.contracts.lanes import Lane
from mailwarren.sender.domain.waits import Climb, Slow, Stay, plan_egress_wait, plan_wait

QUICK = Slow(None, 0.0)


def plan(slow: Slow = QUICK, **changes: object) -> Stay | Climb:
    values = {
        "provider": False, "lane": Lane.BULK, "shaped": 0, "waited": 0.0, "room": True, "left": 86400.0, "scale": 1.0,
        "rng": Random(1),
    }  # fmt: skip
    return plan_wait(slow, **(values | changes))  # type: ignore[arg-type]


def test_a_short_wait_is_in_the_process() -> None:
    assert plan() == Stay(30.0)
    assert plan(Slow(None, 20.0), waited=5.0) == Stay(25.0)
    assert plan(Slow(12.0, 0.0)) == Stay(30.0)


@pytest.mark.parametrize(
    ("slow", "changes"),
    [
        (Slow(None, 31.0), {}),
        (Slow(7200.0, 0.0), {}),
        (Slow(None, 1.0), {"room": False}),
        (Slow(None, 1.0), {"waited": 30.0}),
        (Slow(None, 1.0), {"provider": True, "waited": 900.0}),
    ],
)
def test_a_long_one_is_on_the_ladder(slow: Slow, changes: dict[str, object]) -> None:
    assert isinstance(plan(slow, **changes), Climb)


def test_a_providers_mails_fill_the_prefetch() -> None:
    assert plan(Slow(7200.0, 0.0), provider=True) == Stay(900.0)
    assert plan(Slow(None, 500.0), provider=True, waited=600.0) == Stay(300.0)


def test_a_suspension_is_waited_out_and_a_line_is_worked_off() -> None:
    suspended = plan(Slow(200.0, 0.0))
    assert isinstance(suspended, Climb)
    assert 200 < suspended.seconds <= 215
    # It may be ended sooner: nobody waits much longer after that than he has waited before.
    assert [plan(Slow(7200.0, 0.0), shaped=shaped).seconds for shaped in range(4)] == [300, 600, 1200, 2400]
    assert 7200 < plan(Slow(7200.0, 0.0), shaped=5).seconds <= 7220
    waits = [plan(Slow(None, 100.0), shaped=shaped) for shaped in range(4)]
    assert [round(wait.seconds / 300, 1) for wait in waits] == [pytest.approx(0.3, abs=0.1), 0.6, 1.0, 1.0]


def test_the_high_lane_looks_again_soon() -> None:
    assert plan(Slow(None, 100.0), lane=Lane.HIGH) == Climb(30.0)


@given(
    suspended=st.none() | st.floats(0, 1e5),
    line=st.floats(0, 1e6),
    provider=st.booleans(),
    lane=st.sampled_from(Lane),
    shaped=st.integers(0, 1000),
    waited=st.floats(0, 1e4),
    room=st.booleans(),
    left=st.floats(0, 1e6),
    scale=st.floats(0.001, 1),
    seed=st.integers(),
)
def test_no_wait_is_endless_or_goes_beyond_the_mails_time(
    suspended, line, provider, lane, shaped, waited, room, left, scale, seed
) -> None:
    found = plan_wait(
        Slow(suspended, line), provider=provider, lane=lane, shaped=shaped, waited=waited, room=room, left=left,
        scale=scale, rng=Random(seed),
    )  # fmt: skip
    assert 0 <= found.seconds <= left
    if isinstance(found, Climb):
        assert 0 < found.seconds <= LONGEST_WAIT * scale
    else:
        assert found.seconds <= 900


def plan_egress(opens_in: float | None = None, **changes: object) -> float:
    values = {
        "elsewhere": False, "lane": Lane.BULK, "shaped": 0, "left": 86400.0, "scale": 1.0, "rng": Random(1),
    }  # fmt: skip
    return plan_egress_wait(opens_in, **(values | changes))  # type: ignore[arg-type]


def test_a_mail_without_an_egress_comes_back_later_and_later() -> None:
    waits = [plan_egress(shaped=shaped) for shaped in range(12)]
    assert 240 <= waits[0] <= 360
    assert all(later > earlier for earlier, later in pairwise(waits[:6]))
    assert waits[-1] == LONGEST_WAIT
    assert plan_egress(lane=Lane.HIGH) <= 36


def test_it_is_back_soon_after_a_new_day_began() -> None:
    waits = [plan_egress(100.0, shaped=5, rng=Random(seed)) for seed in range(50)]
    assert all(100 < wait < 100 + 603 for wait in waits)
    assert max(waits) - min(waits) > 300
    assert plan_egress(100_000.0) <= 360


def test_it_is_back_at_once_where_another_sender_may_take_it() -> None:
    waits = [plan_egress(40_000.0, elsewhere=True, shaped=shaped) for shaped in range(12)]
    assert 4 <= waits[0] <= 6
    assert all(wait <= 72 for wait in waits)


@given(
    st.none() | st.floats(0, 86400), st.booleans(), st.sampled_from(Lane), st.integers(0, 60),
    st.floats(-10, 172800), st.sampled_from([1.0, 0.01]), st.integers(),
)  # fmt: skip
def test_no_wait_goes_past_the_mails_end(opens, elsewhere, lane, shaped, left, scale, seed) -> None:  # type: ignore[no-untyped-def]
    wait = plan_egress(opens, elsewhere=elsewhere, lane=lane, shaped=shaped, left=left, scale=scale, rng=Random(seed))
    assert 0 <= wait <= max(0.0, min(left, LONGEST_WAIT * scale))
