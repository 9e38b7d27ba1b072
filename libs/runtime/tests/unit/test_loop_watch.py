"""What is told of a loop: that it turns, and how late it comes."""

import asyncio
import time

import pytest
from prometheus_client import REGISTRY

from mailwarren.runtime.heartbeat import Heartbeat
from mailwarren.runtime.loop import EVERY, watch_loop
from mailwarren.runtime.metrics import record_beat, record_checks


def age(loop: str) -> float | None:
    return REGISTRY.get_sample_value("mailwarren_service_loop_age_seconds", {"loop": loop})


def lag(loop: str) -> float | None:
    return REGISTRY.get_sample_value("mailwarren_service_loop_lag_seconds", {"loop": loop})


async def test_a_loop_that_is_held_up_is_told_of_and_by_how_much() -> None:
    watching = asyncio.create_task(watch_loop("held"))
    await asyncio.sleep(0)
    assert lag("held") == 0
    time.sleep(2 * EVERY)
    held = age("held")
    assert held is not None
    assert held >= 2 * EVERY
    await asyncio.sleep(0.05)
    seen = lag("held")
    watching.cancel()
    assert seen is not None
    assert EVERY * 0.9 <= seen < 2 * EVERY + 1
    turned = age("held")
    assert turned is not None
    assert turned < held


def test_a_beat_alone_has_an_age_and_no_lag() -> None:
    Heartbeat(None, ("beating",)).beat("beating")
    first = age("beating")
    assert first is not None
    assert 0 <= first < 5
    time.sleep(2)
    later = age("beating")
    assert later is not None
    assert later >= first + 2
    assert lag("beating") is None
    record_beat("beating")
    again = age("beating")
    assert again is not None
    assert again < later


@pytest.mark.parametrize("holds", [True, False])
def test_checks_are_one_or_nothing(holds: bool) -> None:
    record_checks({"some check": holds})
    assert REGISTRY.get_sample_value("mailwarren_service_check", {"check": "some check"}) == int(holds)
