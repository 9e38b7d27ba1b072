import pytest

from mailwarren.devstack.supervisor import restart_delay


def test_what_has_lived_is_restarted_at_once() -> None:
    assert restart_delay(previous=16.0, lived=3.0) == 0.0


def test_what_dies_at_once_waits_longer_each_time_up_to_half_a_minute() -> None:
    delays, delay = [], 0.0
    for _ in range(9):
        delay = restart_delay(delay, lived=0.1)
        delays.append(delay)

    assert delays == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


@pytest.mark.parametrize("lived", [0.0, 1.0, 100.0])
def test_the_first_restart_comes_within_two_seconds(lived: float) -> None:
    assert restart_delay(0.0, lived) < 2
