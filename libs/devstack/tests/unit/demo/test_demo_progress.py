"""What a person sees while it runs."""

import io
from collections import Counter

from rich.console import Console

from mailwarren.contracts.lanes import Lane
from mailwarren.devstack.demo.progress import LaneTally, Pace, Tally, board, eta


def tally(accepted: int, ended: int) -> Tally:
    states = Counter({"delivered": ended, "deferred": 2, "accepted": 1})
    return {
        lane: LaneTally(rows=11, answered=accepted + 1, accepted=accepted, ended=ended, states=states) for lane in Lane
    }


def shown(*tallies: Tally, plain: bool) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=not plain, width=160, markup=False, highlight=False, soft_wrap=True)
    with board(console, plain=plain) as made:
        for one in tallies:
            made.show(one)
    return out.getvalue()


def test_the_rate_is_that_of_the_last_ten_seconds() -> None:
    pace = Pace()

    assert pace.see(0, 100.0) == 0
    assert pace.see(50, 105.0) == 10
    assert pace.see(50, 110.0) == 5
    assert pace.see(90, 116.0) == 40 / 6


def test_what_is_left_is_said_in_words() -> None:
    assert [eta(0, 5), eta(100, 10), eta(100, 0.5)] == ["done", "10 s left", "waiting"]


def test_without_a_terminal_there_is_a_line_at_first_and_one_at_the_end() -> None:
    lines = shown(tally(3, 2), tally(6, 3), tally(10, 10), plain=True).splitlines()

    assert len(lines) == 2
    assert "high: accepted 3/11  delivered 2  deferred 2 |" in lines[0]
    assert lines[1].endswith("done")
    assert "bulk: accepted 10/11  delivered 10  deferred 2" in lines[1]


def test_on_a_terminal_there_are_two_bars_a_lane() -> None:
    last = shown(tally(3, 2), tally(10, 10), plain=False)

    for lane in Lane:
        assert f"{lane} accepted" in last
        assert f"{lane} ended" in last
    assert "10/10" in last
    assert "delivered 10  deferred 2" in last
