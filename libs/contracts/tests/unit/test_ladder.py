"""The ladder: any wait becomes at most three rungs, and walking them ends when the wait does."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwarren.contracts.ladder import HOPS, LONGEST_WAIT, RUNGS, Ladder

SCALES = (1.0, 0.37, 0.01, 0.003, 0.0001)
scales = pytest.mark.parametrize("scale", SCALES)
any_scale = st.sampled_from(SCALES)
any_wait = st.floats(min_value=0, max_value=10 * LONGEST_WAIT)


def rung_seconds(ladder: Ladder, name: str) -> float:
    return ladder.milliseconds[ladder.names.index(name)] / 1000


def walk(ladder: Ladder, wait: float, late: list[float]) -> tuple[int, float]:
    """Hops and time until due, each hop taking its rung and then ``late`` seconds more."""
    at, hops = 0.0, 0
    while (rung := ladder.next_rung(wait - at)) is not None:
        at += rung_seconds(ladder, rung) + late[hops % len(late)]
        hops += 1
    return hops, at


def sums_of_rungs(ladder: Ladder) -> set[int]:
    """Every sum of one to three different rungs, in milliseconds."""
    rungs = ladder.milliseconds
    pairs = {a + b for a in rungs for b in rungs if a != b}
    return set(rungs) | pairs | {p + c for p in pairs for c in rungs if c not in (p, 0)}


def test_the_rungs_are_five_seconds_doubled() -> None:
    assert Ladder().milliseconds == tuple(5000 * 2**k for k in range(RUNGS))
    assert Ladder().names[:4] == ("5s", "10s", "20s", "40s")
    assert Ladder(0.01).names[:5] == ("50ms", "100ms", "200ms", "400ms", "800ms")


@scales
def test_no_two_rungs_share_a_name(scale: float) -> None:
    """Two queues of one name and different TTLs could not be declared."""
    ladder = Ladder(scale)
    assert len(set(ladder.names)) == RUNGS
    assert all(ms >= 1 for ms in ladder.milliseconds)


def test_a_name_means_the_same_ttl_at_every_scale() -> None:
    """Queues of two scales may stand side by side in one broker."""
    ttls: dict[str, int] = {}
    for scale in SCALES:
        ladder = Ladder(scale)
        for name, ms in zip(ladder.names, ladder.milliseconds, strict=True):
            assert ttls.setdefault(name, ms) == ms


@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_every_wait_is_a_sum_of_at_most_three_rungs(scale: float) -> None:
    ladder = Ladder(scale)
    sums = sums_of_rungs(ladder)
    for seconds in range(1, int(LONGEST_WAIT) + 1):
        assert round(ladder.round_wait(seconds * scale) * 1000) in sums


@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_a_wait_is_lengthened_by_less_than_a_seventh(scale: float) -> None:
    ladder = Ladder(scale)
    longest = ladder.round_wait(LONGEST_WAIT * scale)
    for seconds in range(5, int(LONGEST_WAIT) + 1):
        wait = seconds * scale
        rounded = ladder.round_wait(wait)
        if wait <= longest:
            assert wait - 1e-9 <= rounded
            assert rounded <= max(wait * 8 / 7, wait + ladder.accuracy) + 1e-9
        else:
            assert rounded == longest


@given(any_scale, any_wait)
def test_no_wait_is_longer_than_the_longest(scale: float, wait: float) -> None:
    assert Ladder(scale).round_wait(wait) <= max(LONGEST_WAIT * scale, Ladder(scale).accuracy)


@given(any_scale, any_wait, any_wait)
def test_a_longer_wait_is_never_rounded_below_a_shorter_one(scale: float, one: float, other: float) -> None:
    ladder = Ladder(scale)
    assert ladder.round_wait(min(one, other)) <= ladder.round_wait(max(one, other))


@given(any_scale, any_wait)
def test_rounding_twice_changes_nothing(scale: float, wait: float) -> None:
    """There is no jitter in it: jitter belongs to who plans the retry."""
    ladder = Ladder(scale)
    once = ladder.round_wait(wait)
    assert once == ladder.round_wait(wait) == ladder.round_wait(once)


@scales
def test_walking_a_rounded_wait_takes_at_most_three_hops_and_ends_on_time(scale: float) -> None:
    ladder = Ladder(scale)
    for seconds in range(1, int(LONGEST_WAIT) + 1, 7):
        wait = ladder.round_wait(seconds * scale)
        hops, at = walk(ladder, wait, [0.0])
        assert 1 <= hops <= HOPS
        assert abs(at - wait) < 1e-6


@given(any_scale, any_wait, st.randoms(use_true_random=False))
def test_a_broker_that_is_a_little_late_makes_no_more_hops(scale: float, wait: float, rng: random.Random) -> None:
    """A rung always ends late by some milliseconds; two hops may be late by nearly half the shortest rung."""
    ladder = Ladder(scale)
    rounded = ladder.round_wait(wait)
    hops, at = walk(ladder, rounded, [rng.uniform(0, ladder.accuracy * 0.24) for _ in range(3)])
    assert hops <= HOPS
    assert abs(at - rounded) <= ladder.accuracy


@given(any_scale, any_wait)
def test_a_rung_overshoots_by_at_most_half_of_the_shortest(scale: float, wait: float) -> None:
    ladder = Ladder(scale)
    rung = ladder.next_rung(wait)
    if rung is None:
        assert wait <= ladder.accuracy / 2
    else:
        assert rung_seconds(ladder, rung) <= wait + ladder.accuracy / 2 + 1e-9


@pytest.mark.parametrize("remaining", [-100.0, 0.0, 0.02])
def test_what_is_due_takes_no_rung(remaining: float) -> None:
    assert Ladder().next_rung(remaining) is None


@pytest.mark.parametrize("wait", [-5.0, 0.0, 0.001])
def test_even_no_wait_is_a_rung(wait: float) -> None:
    assert Ladder().round_wait(wait) == 5.0
