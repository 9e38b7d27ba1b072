"""How many mails a new egress sends in a day, and that all who read the log agree on it."""

from datetime import date
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwarren.contracts.egress import Reservation, day_of
from mailwarren.sender.domain.warmup import MOST_AT_ONCE, Reservations, WarmUp, end_of_day, part_of

DAY = 20_414  # 2025-11-22
KEY = ("out2", "google", DAY)
CURVE = WarmUp(date(2025, 11, 22), (50, 100, 500), {"google": (20,), "yahoo": (5, 5, 5, 5)})


def an_entry(
    count: int, most: int = 100, day: int = DAY, sender: UUID | None = None, site: str = "google"
) -> Reservation:
    return Reservation(uuid4(), sender or uuid4(), "out2", site, day, count, most)


@pytest.mark.parametrize(
    ("site", "day", "most"),
    [
        ("other", DAY - 1, 0),
        ("other", DAY, 50),
        ("other", DAY + 2, 500),
        ("other", DAY + 3, None),
        ("google", DAY, 20),
        ("google", DAY + 1, None),
        ("yahoo", DAY + 3, 5),
        ("yahoo", DAY + 4, None),
    ],
)
def test_the_curve_begins_on_its_day_and_ends_with_its_last(site: str, day: int, most: int | None) -> None:
    assert CURVE.most(site, day) == most


def test_an_egress_is_warm_when_its_longest_curve_is_over() -> None:
    assert CURVE.warm_on == date(2025, 11, 26)


def test_days_begin_at_midnight_utc() -> None:
    assert day_of(1_763_769_600.0) == DAY
    assert day_of(1_763_769_599.9) == DAY - 1
    assert end_of_day(DAY) == 1_763_856_000.0


@pytest.mark.parametrize(("most", "part"), [(1, 1), (50, 2), (1000, 50), (10**6, MOST_AT_ONCE)])
def test_a_day_is_given_out_in_parts(most: int, part: int) -> None:
    assert part_of(most) == part


def test_what_is_asked_for_is_granted_in_order_as_long_as_the_number_lasts() -> None:
    log = Reservations()
    assert [log.apply(an_entry(count, 100), DAY) for count in (60, 30, 30, 1)] == [60, 30, 10, 0]
    assert log.taken(KEY) == 100
    assert log.apply(an_entry(30, 100, site="yahoo"), DAY) == 30
    assert log.of_day(DAY) == {("out2", "google"): 100, ("out2", "yahoo"): 30}


def test_what_is_given_back_can_be_taken_again_and_is_not_more_than_was_taken() -> None:
    log = Reservations()
    assert [log.apply(an_entry(count, 50), DAY) for count in (50, -20, 30, -100)] == [50, -20, 20, -50]
    assert log.taken(KEY) == 0


def test_an_entry_counts_once_however_often_it_comes() -> None:
    log, entry = Reservations(), an_entry(10)
    assert [log.apply(entry, DAY), log.apply(entry, DAY)] == [10, 0]
    assert log.taken(KEY) == 10


def test_a_lower_number_takes_nothing_back_and_grants_nothing() -> None:
    log = Reservations()
    assert [log.apply(an_entry(10, most), DAY) for most in (100, 5, 15)] == [10, 0, 5]


def test_days_long_over_and_long_to_come_count_for_nothing() -> None:
    log = Reservations()
    assert [log.apply(an_entry(10, day=DAY + off), DAY) for off in (-2, -1, 0, 1, 2)] == [0, 10, 10, 10, 0]
    assert log.apply(an_entry(10, day=DAY + 3), DAY + 3) == 10
    assert log.taken(("out2", "google", DAY)) == 0


@given(st.lists(st.tuples(st.integers(-60, 60), st.integers(0, 100)), max_size=40))
def test_two_readers_agree_and_no_more_is_out_than_the_highest_number(asked: list[tuple[int, int]]) -> None:
    entries = [an_entry(count, most) for count, most in asked]
    one, other = Reservations(), Reservations()
    assert [one.apply(entry, DAY) for entry in entries] == [other.apply(entry, DAY) for entry in entries]
    assert 0 <= one.taken(KEY) <= max((most for _, most in asked), default=0)
