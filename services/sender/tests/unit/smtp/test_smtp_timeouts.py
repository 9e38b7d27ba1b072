import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mailwarren.sender.smtp import Auth, ClientSettings, TlsContexts, TlsMode
from mailwarren.sender.smtp.timeouts import DeadlineTimer


class Clock:
    """A loop's clock and timers, moved by hand; counts what is scheduled."""

    def __init__(self) -> None:
        self.now = 0.0
        self.scheduled = 0
        self.timers: list[tuple[float, Callable[[], None], Any]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, call: Callable[[], None]) -> Any:
        self.scheduled += 1
        clock = self

        class Handle:
            def cancel(self) -> None:
                clock.timers = [timer for timer in clock.timers if timer[2] is not self]

        handle = Handle()
        self.timers.append((when, call, handle))
        return handle

    def move_to(self, now: float) -> None:
        while self.timers and min(self.timers, key=lambda timer: timer[0])[0] <= now:
            timer = min(self.timers, key=lambda timer: timer[0])
            self.timers.remove(timer)
            self.now = timer[0]
            timer[1]()
        self.now = now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fired() -> list[float]:
    return []


@pytest.fixture
def timer(clock, fired) -> DeadlineTimer:
    return DeadlineTimer(clock, lambda: fired.append(clock.now))


def test_it_fires_once_at_the_last_deadline_set(clock, timer, fired):
    for now in range(100):
        clock.move_to(float(now))
        timer.set(60)
    clock.move_to(1000)

    assert fired == [159.0]


def test_moving_the_deadline_later_schedules_nothing(clock, timer):
    timer.set(60)
    for _ in range(10_000):
        timer.set(60)
        timer.set(300)
    # Coming back from 300 to 60 s does: the timer never fires late.
    assert clock.scheduled == 1
    clock.move_to(70)
    timer.set(300)
    assert clock.scheduled == 2


def test_a_nearer_deadline_is_kept(clock, timer, fired):
    timer.set(300)
    timer.set(60)
    clock.move_to(1000)

    assert fired == [60.0]


def test_a_cancelled_one_stays_silent_until_it_is_set_again(clock, timer, fired):
    timer.set(60)
    timer.cancel()
    clock.move_to(100)
    assert fired == []
    timer.set(60)
    clock.move_to(1000)
    assert fired == [160.0]


async def test_it_works_on_a_real_loop():
    fired = asyncio.Event()
    timer = DeadlineTimer(asyncio.get_running_loop(), fired.set)
    timer.set(0.01)
    async with asyncio.timeout(1):
        await fired.wait()


@pytest.mark.parametrize("name", ["", "my host", "host\r\nMAIL", "höst", "host\0"])
def test_a_helo_name_cannot_end_its_command(name):
    with pytest.raises(ValueError, match="helo_name"):
        ClientSettings(name, TlsContexts())


def test_there_is_no_context_without_tls():
    with pytest.raises(ValueError, match="without TLS"):
        TlsContexts().for_mode(TlsMode.OFF)


def test_a_ca_file_must_hold_certificates(tmp_path):
    with pytest.raises(OSError, match=r"."):
        TlsContexts(tmp_path / "missing.pem")
    (tmp_path / "empty.pem").write_text("")
    with pytest.raises(OSError, match=r"."):
        TlsContexts(tmp_path / "empty.pem")


@pytest.mark.parametrize("auth", [("a\0b", "x"), ("a", "x\0y")])
def test_credentials_hold_no_nul(auth):
    with pytest.raises(ValueError, match="NUL"):
        Auth(*auth)
