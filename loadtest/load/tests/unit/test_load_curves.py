"""A day and a spike."""

import pytest

from mailwarren.load.curves import DAY, SPIKE, day_level, day_users, is_campaign, spike_users


def test_the_day_peaks_at_ten_dips_at_lunch_and_ends_as_it_began() -> None:
    levels = {hour: day_level(hour) for hour in range(25)}
    assert max(levels, key=lambda hour: levels[hour]) == 10
    assert levels[13] < levels[11]
    assert levels[13] < levels[15]
    assert min(levels, key=lambda hour: levels[hour]) == 5
    assert levels[0] == levels[24]
    assert [hour for hour, _ in DAY] == sorted(hour for hour, _ in DAY)


def test_no_other_hour_is_answered() -> None:
    with pytest.raises(ValueError, match="25"):
        day_level(25)


def test_a_day_fits_into_its_time() -> None:
    assert day_users(100, 600 * 10 / 24, 600) == 100
    assert day_users(3, 600 * 5 / 24, 600) == 1
    assert day_users(100, 600, 600) is None


def test_campaigns_are_on_the_peak_and_in_the_afternoon() -> None:
    assert [hour for hour in range(24) if is_campaign(hour)] == [10, 11, 16, 17]


def test_a_spike_is_ten_times_as_many_for_a_while() -> None:
    users = [spike_users(8, second, 100) for second in range(101)]
    assert users.count(80) == 15
    assert users.count(8) == 85
    assert users[40] == 8 * SPIKE
    assert (users[39], users[55], users[100]) == (8, 8, None)
