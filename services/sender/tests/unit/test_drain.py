"""A warm shutdown whose broker connection is lost on the way."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from celery.worker import state

from mailwarren.sender.engine.consumer import Drain
from mailwarren.sender.engine.handover import Handover
from mailwarren.sender.incoming import Finish, Incoming


async def test_what_came_over_a_connection_that_is_lost_while_draining_is_no_longer_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The broker gives it to another sender, so nothing new of it may be sent here."""
    handover, owned = Handover(), []

    async def work(incoming: Incoming) -> Finish:
        for _ in range(10):
            owned.append(incoming.owned())
            await asyncio.sleep(0.02)
        return Finish.ACK if incoming.owned() else Finish.STALE

    def lose(**_: Any) -> None:
        raise ConnectionResetError("gone")

    handover.start(asyncio.get_running_loop(), work)
    handover.attach(SimpleNamespace(call_soon=lambda _: None, task_consumer=None, connection_errors=(OSError,)))
    handover.submit(SimpleNamespace(body=b"x", headers={}, delivery_info={}, delivery_tag=1))
    await asyncio.sleep(0.03)
    monkeypatch.setattr(state, "should_stop", 0)
    consumer = SimpleNamespace(
        app=SimpleNamespace(handover=handover, drain_grace=3.0),
        connection=SimpleNamespace(drain_events=lose, heartbeat_check=lambda: None),
        connection_errors=(OSError,),
        task_consumer=None,
    )
    await asyncio.to_thread(Drain.stop, Drain.__new__(Drain), consumer)
    assert owned[0]
    assert not owned[-1]
    assert handover.open == 0
