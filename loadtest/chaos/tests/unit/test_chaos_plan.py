"""The rounds that a seed gives."""

import pytest

from mailwarren.chaos.plan import MOST_SENDERS, draw_rounds


@pytest.mark.parametrize("count", [1, 3, 20])
def test_rounds_lie_within_the_load_one_after_the_other(count: int) -> None:
    for seed in range(30):
        rounds = draw_rounds(count, seed)
        places = [one.after for one in rounds]
        assert [one.number for one in rounds] == list(range(1, count + 1))
        assert places == sorted(places)
        assert places[0] > 0 and places[-1] < 1
        assert all(1 <= one.victims <= MOST_SENDERS and 1 <= one.senders <= MOST_SENDERS for one in rounds)


def test_a_seed_gives_the_same_rounds_and_another_gives_others() -> None:
    assert draw_rounds(20, 7) == draw_rounds(20, 7)
    assert draw_rounds(20, 7) != draw_rounds(20, 8)


def test_twenty_rounds_kill_one_and_several_and_end_with_every_count() -> None:
    rounds = draw_rounds(20, 1)
    assert {one.victims for one in rounds} >= {1, 2}
    assert {one.senders for one in rounds} == {1, 2, 3, 4}
