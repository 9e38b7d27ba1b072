"""The heartbeat file, and the signals that end a service."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from mailwarren.runtime.heartbeat import Heartbeat
from mailwarren.runtime.shutdown import stop_on_signals


def age(path: Path) -> int:
    """The file's time, set far back so that the next touch shows."""
    os.utime(path, (1, 1))
    return int(path.stat().st_mtime)


def test_the_file_is_as_old_as_the_slowest_loop(tmp_path) -> None:
    path = tmp_path / "heartbeat"
    heartbeat = Heartbeat(path, ("hub", "engine"))
    heartbeat.beat("hub")
    heartbeat.beat("hub")
    assert not path.exists()
    heartbeat.beat("engine")
    assert path.exists()
    assert age(path) == 1
    heartbeat.beat("engine")
    heartbeat.beat("engine")
    assert path.stat().st_mtime == 1
    heartbeat.beat("hub")
    assert path.stat().st_mtime > 1


def test_without_a_file_beating_does_nothing(tmp_path) -> None:
    Heartbeat(None, ("hub",)).beat("hub")
    assert list(tmp_path.iterdir()) == []


def test_a_loop_that_nobody_waits_for_does_not_stand_in_for_another(tmp_path) -> None:
    path = tmp_path / "heartbeat"
    heartbeat = Heartbeat(path, ("hub",))
    heartbeat.beat("engine")
    assert not path.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_sets_the_event(number: signal.Signals) -> None:
    stop = stop_on_signals()
    try:
        assert not stop.is_set()
        os.kill(os.getpid(), number)
        await asyncio.wait_for(stop.wait(), 5)
    finally:
        for each in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().remove_signal_handler(each)
